//! What the build refuses, one planted fault a rule, and the line that it prints.

use crate::generate::calls::{Answers, OwnJson};
use crate::generate::{self, HANDWRITTEN};

const GET: &str = "get: { operationId: look, responses: { '204': { description: Fine. } } }";

fn document(paths: &str, schemas: &str) -> String {
    format!(
        "openapi: 3.0.3\ninfo: {{ title: T, version: '1' }}\npaths: {{ {paths} }}\ncomponents: {{ schemas: {{ {schemas} }} }}\n"
    )
}

fn refused(text: &str) -> Vec<String> {
    generate::problems(text).unwrap()
}

/// What is refused in an operation that is written as `rest`.
fn refused_operation(rest: &str) -> Vec<String> {
    refused(&document(&format!("/a: {{ post: {{ operationId: send, {rest} }} }}"), ""))
}

fn refused_schema(schema: &str) -> Vec<String> {
    let text = document(&format!("/a: {{ {GET} }}"), &format!("Peer: {schema}"));
    refused(&text)
}

#[test]
fn a_sound_document_is_not_refused() {
    let body = "requestBody: { required: true, content: { application/json: { schema: { type: string } } } }";
    let fine = format!("{body}, responses: {{ '204': {{ description: Fine. }} }}");
    assert_eq!(refused_operation(&fine), [""; 0]);
    assert_eq!(refused_schema("{ type: object, properties: { id: { type: string } } }"), [""; 0]);
}

#[test]
fn another_version_or_no_document_is_an_error() {
    for (text, said) in [
        (
            "openapi: 3.1.0",
            "says `openapi: 3.1.0`, but the generator takes 3.0.x: set it to 3.0.3, or let `cargo xtask import-spec` translate it",
        ),
        ("a: 1", "is not an OpenAPI document: it has no `openapi: 3.0.3`"),
    ] {
        assert_eq!(generate::generate(text, &HANDWRITTEN).unwrap_err(), said);
    }
    let twice = generate::problems("openapi: 3.0.3\na: 1\na: 2\n").unwrap_err();
    assert!(twice.starts_with("is not YAML: duplicate entry with key \"a\""), "{twice}");
    let broken = generate::problems("openapi: [").unwrap_err();
    assert!(broken.starts_with("is not YAML: ") && broken.contains("at line 2"), "{broken}");
}

#[test]
fn a_name_of_the_generated_client_s_own_is_no_operation_s() {
    let text = document(&format!("/a: {{ {} }}", GET.replace("look", "client")), "");
    assert_eq!(
        refused(&text),
        ["operationId `client` is a name that the generated client needs itself: choose another"]
    );
}

#[test]
fn a_set_of_words_needs_a_type_to_be_carried_in() {
    let colour = "Colour: { type: string, x-extensible-enum: [red] }";
    let said = generate::generate(&document(&format!("/a: {{ {GET} }}"), colour), &HANDWRITTEN);
    assert_eq!(
        said.unwrap_err(),
        "schema `Colour` is a set of words that may grow, and has no type yet: write one in \
         src/values/open_string.rs, and name it in HANDWRITTEN in build/generate.rs"
    );
}

#[test]
fn operations_need_an_id_of_their_own_in_place() {
    let text = document("/a: { get: { responses: { '204': { description: Fine. } } } }", "");
    assert_eq!(refused(&text), ["`get /a` has no operationId: give it one"]);
    let text = document("/a: { $ref: '#/x' }", "");
    assert_eq!(refused(&text), ["path `/a` is a reference: write the path item in place"]);
    let text =
        document(&format!("/a: {{ {GET} }}, /b: {{ {} }}", GET.replace("look", "Lo_ok")), "");
    assert_eq!(
        refused(&text),
        ["operationId `Lo_ok` is given twice (`look`): each operation needs one of its own"]
    );
}

#[test]
fn a_request_body_has_one_known_type_and_is_required() {
    let with = |body: &str| {
        refused_operation(&format!(
            "requestBody: {body}, responses: {{ '204': {{ description: Fine. }} }}"
        ))
    };
    for (body, said) in [
        ("{ $ref: '#/x' }", "its request body is a reference: write the body in place"),
        (
            "{ required: true, content: { application/json: {}, text/plain: {} } }",
            "its request body has 2 media types: give exactly one, `application/json`",
        ),
        (
            "{ required: true, content: { application/x-ndjson: {} } }",
            "the generator has no request body of type `application/x-ndjson`: use `application/json` or `application/octet-stream`",
        ),
        (
            "{ content: { application/json: {} } }",
            "its request body is optional, but the client always sends it: write `required: true`",
        ),
    ] {
        assert_eq!(with(body), [format!("operation `send`: {said}")]);
    }
}

#[test]
fn an_operation_has_one_success_shape() {
    let json = |schema: &str| {
        format!(
            "{{ description: A., content: {{ application/json: {{ schema: {{ type: {schema} }} }} }} }}"
        )
    };
    for (responses, said) in [
        (
            "{ '400': { description: No. } }".to_owned(),
            "no 2xx response is documented: add one, such as `'204'`",
        ),
        (
            "{ '200': { $ref: '#/x' } }".to_owned(),
            "response 200 refers to nothing: mend its `$ref`",
        ),
        (
            "{ '200': { description: A., content: { application/json: {}, text/plain: {} } } }"
                .to_owned(),
            "response 200 has several media types (`application/json`, `text/plain`): give one",
        ),
        (
            "{ '200': { description: A., content: { application/vnd.x+json: {} } } }".to_owned(),
            "response 200 has the type `application/vnd.x+json`, which would be bytes to the caller: write `application/json`",
        ),
        (
            format!("{{ '200': {}, '201': {} }}", json("string"), json("boolean")),
            "its 2xx responses have different bodies, but the method has one type: give all the same schema",
        ),
    ] {
        assert_eq!(
            refused_operation(&format!("responses: {responses}")),
            [format!("operation `send`: {said}")]
        );
    }
}

#[test]
fn a_parameter_can_be_sent() {
    let with = |parameter: &str| {
        refused_operation(&format!(
            "parameters: [{parameter}], responses: {{ '204': {{ description: Fine. }} }}"
        ))
    };
    for (parameter, said) in [
        (
            "{ name: s, in: cookie, schema: { type: string } }",
            "parameter \"s\" is in the cookie, which the generator cannot send: use a header",
        ),
        (
            "{ name: s, in: query, content: { application/json: {} } }",
            "parameter \"s\" has no `schema`: give it one instead of `content`",
        ),
        ("{ $ref: '#/x' }", "a parameter refers to nothing: mend its `$ref`"),
    ] {
        assert_eq!(with(parameter), [format!("operation `send`: {said}")]);
    }
}

#[test]
fn a_schema_holds_nothing_that_the_generator_gets_wrong() {
    for (schema, said) in [
        (
            "anyOf: [{ type: string }]",
            "has `anyOf`, which decodes nothing: write `oneOf` or one type",
        ),
        (
            "type: string, enum: [a, b]",
            "has `enum`, so one new value would fail the whole answer: write `x-extensible-enum`",
        ),
        (
            "type: integer, enum: [1, 2]",
            "has `enum` on what is no string, which does not build: say the values in the description",
        ),
        (
            "type: string, x-extensible-enum: [a]",
            "has `x-extensible-enum` in place, which is not seen there: make it a schema of its own",
        ),
        (
            "type: integer, minimum: 1",
            "has a `minimum` above 0, so it becomes a type without zero: drop it and say it in the description",
        ),
        (
            "type: string, maxLength: 3",
            "has a `pattern` or a length, so a longer answer would fail: drop it and say it in the description",
        ),
        (
            "type: object, additionalProperties: false",
            "has `additionalProperties: false`, so one new field would fail the whole answer: drop it",
        ),
        (
            "type: object, properties: { a: { type: string } }, additionalProperties: { type: string }",
            "has `properties` and `additionalProperties`, which loses what a raw value holds: make the rest a map field",
        ),
        (
            "type: array, nullable: true, items: { type: string }",
            "is a list or map with `nullable`, which makes null another thing than empty: drop it, null is read as empty",
        ),
        (
            "type: string, format: uuid",
            "has the format `uuid`, for which there is no type here: drop it and say it in the description",
        ),
    ] {
        let found =
            refused_schema(&format!("{{ type: object, properties: {{ id: {{ {schema} }} }} }}"));
        assert_eq!(found, [format!("`Peer.id` {said}")]);
    }
}

#[test]
fn a_fault_is_found_at_any_depth_but_one_word_may_tell_variants_apart() {
    let deep = "{ type: array, items: { type: object, additionalProperties: { anyOf: [] } } }";
    assert!(refused_schema(deep)[0].starts_with("`Peer[]{}` has `anyOf`"));
    let tag = "{ oneOf: [{ type: object, properties: { kind: { type: string, enum: [a] } } }] }";
    assert_eq!(refused_schema(tag), [""; 0]);
    let word = "{ type: object, properties: { kind: { type: string, enum: [a] } } }";
    assert!(refused_schema(word)[0].starts_with("`Peer.kind` has `enum`"));
}

#[test]
fn what_the_generator_itself_refuses_is_named() {
    let text = document(
        &format!("/a: {{ {GET} }}"),
        "Peer: { type: object, properties: { a: { $ref: '#/components/schemas/None' } } }",
    );
    let said = generate::generate(&text, &HANDWRITTEN).unwrap_err();
    assert!(said.contains("`Peer`") && said.contains("cannot take"), "{said}");
}

#[test]
fn a_body_is_written_by_the_stage_of_its_own_or_the_build_fails() {
    let text = document(
        &format!(
            "/a: {{ {GET} }}, /b: {{ post: {{ operationId: send, \
             requestBody: {{ required: true, content: {{ application/json: {{ schema: {{ type: string }} }} }} }}, \
             responses: {{ '204': {{ description: Fine. }} }} }} }}"
        ),
        "",
    );
    let code = generate::generate(&text, &HANDWRITTEN).unwrap();
    assert_eq!(code.matches("crate::transport::body::json(").count(), 1, "{code}");
    assert!(!code.contains(".json("), "{code}");

    let spec = serde_norway::from_str(&text).unwrap();
    for (changed, found) in [
        ("self.client.post(url).body(to_vec(&body)).build()", 0),
        ("self.client.post(url).json(&other).build()", 0),
        ("self.client.post(url).json(&body, 1).build()", 0),
        ("(self.client.post(url).json(&body), self.client.post(url).json(&body))", 2),
    ] {
        let mut file = syn::parse_str(&format!("fn send() {{ {changed} }}")).unwrap();
        assert_eq!(
            OwnJson::rewrite(&mut file, &spec).unwrap_err(),
            format!(
                "1 operations send JSON, but {found} calls of `.json(&body)` were found in the generated code: \
                 the generator has changed; mend OwnJson in build/calls.rs"
            ),
            "{changed}"
        );
    }
}

#[test]
fn a_call_that_ends_in_another_way_than_it_used_to_stops_the_build() {
    let calls = |success: syn::Expr| -> syn::File {
        syn::parse_quote! {
            impl Client {
                pub fn plain(&self) {}
                pub async fn look(&self) -> Result<ResponseValue<types::Peer>, Error<()>> {
                    let mut request = self.client.get(url).build()?;
                    self.pre(&mut request, &info).await?;
                    let result = self.exec(request, &info).await;
                    self.post(&result, &info).await?;
                    let response = result?;
                    match response.status().as_u16() {
                        200..=299 => { #success }
                        _ => Err(Error::UnexpectedResponse(response)),
                    }
                }
            }
        }
    };
    let changed = |success| {
        let mut file = calls(success);
        Answers::rewrite(&mut file).map(|()| quote::quote!(#file).to_string())
    };
    for (success, reader) in [
        (syn::parse_quote!(ResponseValue::from_response(response).await), "decoded"),
        (syn::parse_quote!(Ok(ResponseValue::empty(response))), "ignored"),
    ] {
        let code = changed(success).unwrap();
        assert!(code.contains(&format!("answer :: {reader} (self , self . send (")), "{code}");
        assert!(code.contains("-> Result < types :: Peer , Error < () > >"), "{code}");
        assert!(!code.contains("self . pre (") && !code.contains("ResponseValue"), "{code}");
    }
    let stream = changed(syn::parse_quote!(Ok(ResponseValue::stream(response)))).unwrap();
    assert!(stream.contains("self . pre (") && !stream.contains("answer ::"), "{stream}");
    assert_eq!(
        changed(syn::parse_quote!(ResponseValue::checked(response).await)).unwrap_err(),
        "the generator ends `look` in another way than it used to: see what it writes there, and \
         teach it to `Answers` in build/calls.rs"
    );
}
