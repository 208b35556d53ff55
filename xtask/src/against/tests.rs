//! A pair of documents for each kind of change.

use super::*;

const BASE: &str = "
openapi: 3.0.3
security: [{ bearer: [] }]
paths:
  /send:
    post:
      operationId: send
      parameters: [{ name: X-Id, in: header, required: true, schema: { type: string } }]
      requestBody:
        required: true
        content: { application/json: { schema: { $ref: '#/components/schemas/Req' } } }
      responses:
        '200': { description: A., content: { application/json: { schema: { $ref: '#/components/schemas/Ans' } } } }
        '400': { description: B., content: { text/plain: { schema: { type: string } } } }
  /events:
    get:
      operationId: events
      responses:
        '200':
          content:
            text/event-stream:
              schema:
                oneOf:
                  - allOf: [{ properties: { event_type: { enum: [gone] }, payload: { $ref: '#/components/schemas/Gone' } } }]
components:
  securitySchemes: { bearer: { type: http, scheme: bearer }, key: { type: apiKey, in: header, name: K } }
  schemas:
    Req: { type: object, required: [id], properties: { id: { type: string }, note: { type: string }, tags: { type: array, items: { type: string } } } }
    Ans: { type: object, required: [id, list], properties: { id: { type: string }, note: { type: string }, list: { type: array, items: { type: string } }, map: { type: object, additionalProperties: { type: string } }, part: { $ref: '#/components/schemas/Gone' } } }
    Gone: { type: object, required: [id], properties: { id: { type: string } } }
    Twin: { type: object, required: [id], properties: { id: { type: string } } }
    Word: { type: string, x-extensible-enum: [a, b] }
    Shut: { type: string, enum: [a, b] }
";

/// The changes when `from` is written as `to`, each with a letter for whom it breaks.
fn changed(from: &str, to: &str) -> Vec<String> {
    assert!(BASE.contains(from), "the base has no {from}");
    let old = Spec::parse(BASE.to_owned()).unwrap();
    let new = Spec::parse(BASE.replacen(from, to, 1)).unwrap();
    changes(&old, &new)
        .into_iter()
        .map(|c| {
            let letters = [(c.callers, "C"), (c.server, "S")];
            let who: String = letters.iter().filter(|(yes, _)| *yes).map(|(_, l)| *l).collect();
            format!("{}: {}", if who.is_empty() { "-" } else { &who }, c.text)
        })
        .collect()
}

#[track_caller]
fn each(cases: &[(&str, &str, &str)]) {
    for (from, to, said) in cases {
        assert_eq!(changed(from, to), [*said], "{from} -> {to}");
    }
}

#[test]
fn the_same_document_and_other_words_break_nobody() {
    assert_eq!(changed("A.", "A."), [""; 0]);
    each(&[(
        "description: A.",
        "description: Fine.",
        "-: only words, examples or the order changed",
    )]);
}

#[test]
fn operations() {
    let operation = "  /events:";
    let more = format!("  /ping: {{ get: {{ operationId: ping, responses: {{}} }} }}\n{operation}");
    assert_eq!(changed(operation, &more), ["-: operation `ping` was added (GET /ping)"]);
    each(&[
        ("    post:", "    put:", "S: `send` is PUT /send, it was POST /send"),
        ("/send:", "/v2/send:", "S: `send` is POST /v2/send, it was POST /send"),
    ]);
    let renamed = changed("operationId: send", "operationId: push");
    assert_eq!(
        renamed[..2],
        ["CS: operation `send` was removed", "-: operation `push` was added (POST /send)"]
    );
}

#[test]
fn parameters() {
    let parameter = "{ name: X-Id, in: header, required: true, schema: { type: string } }";
    let with = |more: &str| format!("{parameter}, {more}");
    each(&[
        (parameter, "", "C: `send` no longer takes the header parameter `X-Id`"),
        (
            "in: header, required: true,",
            "in: header,",
            "C: `send` no longer requires the header parameter `X-Id`",
        ),
        (
            parameter,
            &with("{ name: q, in: query, schema: { type: string } }"),
            "C: `send` takes the new, optional query parameter `q`",
        ),
        (
            parameter,
            &with("{ name: q, in: query, required: true, schema: { type: string } }"),
            "CS: `send` requires the new query parameter `q`",
        ),
        (
            "required: true, schema: { type: string }",
            "required: true, schema: { type: integer }",
            "CS: `send header parameter X-Id` is an integer, it was a string",
        ),
    ]);
    let optional = BASE.replacen("in: header, required: true,", "in: header,", 1);
    let (old, new) = (Spec::parse(optional).unwrap(), Spec::parse(BASE.to_owned()).unwrap());
    let found = changes(&old, &new);
    assert_eq!(found[0].text, "`send` requires the header parameter `X-Id`, which was optional");
    assert!(found[0].callers && found[0].server);
}

#[test]
fn bodies_media_types_and_statuses() {
    let body = "        required: true\n        content: { application/json: { schema: { $ref: '#/components/schemas/Req' } } }";
    each(&[
        ("        required: true\n", "", "-: `send` no longer requires its body"),
        (body, "        required: true", "C: `send` no longer takes a body"),
        (
            "content: { application/json: { schema: { $ref: '#/components/schemas/Req' } } }",
            "content: { text/plain: { schema: { $ref: '#/components/schemas/Req' } } }",
            "CS: `send` takes `text/plain`, it was `application/json`",
        ),
        (
            "'#/components/schemas/Req'",
            "'#/components/schemas/Gone'",
            "CS: `send body` is `Gone`, it was `Req`",
        ),
        (
            "description: A., content: { application/json:",
            "description: A., content: { text/plain:",
            "CS: `send` answers with `text/plain`, it was `application/json`",
        ),
        (
            "content: { application/json: { schema: { $ref: '#/components/schemas/Ans' } } }",
            "headers: {}",
            "CS: `send` no longer answers with a body",
        ),
        (
            "text/plain: { schema",
            "application/problem+json: { schema",
            "-: `send` explains 400 with `application/problem+json`, it was `text/plain`",
        ),
    ]);
    assert_eq!(
        changed("        '400':", "        '409':"),
        ["-: `send` no longer documents the status 400", "-: `send` documents the new status 409"]
    );
}

#[test]
fn security() {
    each(&[(
        "scheme: bearer }",
        "scheme: basic }",
        "S: security scheme `bearer` is http basic, it was http bearer",
    )]);
    assert_eq!(
        changed("security: [{ bearer: [] }]", "security: [{ key: [] }]"),
        [
            "S: `events` is authorised by `key`, it was `bearer`",
            "S: `send` is authorised by `key`, it was `bearer`"
        ]
    );
    each(&[(
        "operationId: send",
        "operationId: send\n      security: []",
        "S: `send` is authorised by nothing, it was `bearer`",
    )]);
}

#[test]
fn fields_that_are_sent() {
    let req = "Req: { type: object, required: [id], properties: { id: { type: string }";
    let with = |required: &str, more: &str| {
        format!(
            "Req: {{ type: object, required: [{required}], properties: {{ id: {{ type: string }}{more}"
        )
    };
    each(&[
        (req, &with("id", ", age: { type: integer }"), "C: `Req.age` was added, optional"),
        (req, &with("id, age", ", age: { type: integer }"), "CS: `Req.age` was added, required"),
        (req, &with("", ""), "C: `Req.id` became optional"),
        (req, &with("id, note", ""), "CS: `Req.note` became required"),
        (req, &with("id, tags", ""), "S: `Req.tags` became required"),
        (" note: { type: string }, tags", " tags", "C: `Req.note` was removed"),
    ]);
}

#[test]
fn fields_that_are_received() {
    each(&[
        (
            "Ans: { type: object, required: [id, list], properties: {",
            "Ans: { type: object, required: [id, list, age], properties: { age: { type: integer },",
            "-: `Ans.age` was added, required",
        ),
        ("required: [id, list]", "required: [list]", "CS: `Ans.id` became optional"),
        ("required: [id, list]", "required: [id]", "-: `Ans.list` became optional"),
        ("required: [id, list]", "required: [id, list, note]", "C: `Ans.note` became required"),
        (
            "list: { type: array, items: { type: string } }",
            "list: { type: string }",
            "CS: `Ans.list` is a string, it was a list",
        ),
        (
            "list: { type: array, items: { type: string } }",
            "list: { type: array, items: { type: integer } }",
            "CS: `Ans.list[]` is an integer, it was a string",
        ),
        (
            "additionalProperties: { type: string }",
            "additionalProperties: { type: boolean }",
            "CS: `Ans.map{}` is a boolean, it was a string",
        ),
        (
            "part: { $ref: '#/components/schemas/Gone' }",
            "part: { $ref: '#/components/schemas/Twin' }",
            "C: `Ans.part` is `Twin`, it was `Gone`",
        ),
        (
            "Gone: { type: object, required: [id], properties: { id: { type: string } } }",
            "Gone: { type: object, required: [id], properties: {} }",
            "CS: `Gone.id` was removed",
        ),
    ]);
}

#[test]
fn formats_and_null_and_limits_and_defaults() {
    let field = "Gone: { type: object, required: [id], properties: { id: { type: string }";
    let with = |more: &str| {
        format!(
            "Gone: {{ type: object, required: [id], properties: {{ id: {{ type: string, {more} }}"
        )
    };
    each(&[
        (field, &with("format: date-time"), "CS: `Gone.id` has the format date-time, it was none"),
        (field, &with("format: password"), "C: `Gone.id` has the format password, it was none"),
        (field, &with("nullable: true"), "CS: `Gone.id` may be null"),
        (field, &with("maxLength: 3"), "-: `Gone.id` has the maxLength 3, it was none"),
        (field, &with("default: x"), "C: `Gone.id` has the default \"x\", it was none"),
        (field, &with("enum: [x]"), "CS: `Gone.id` takes only certain values"),
        (
            "tags: { type: array, items: { type: string }",
            "tags: { type: array, nullable: true, items: { type: string }",
            "-: `Req.tags` may be null",
        ),
        (
            "Req: { type: object, required: [id], properties: { id: { type: string }",
            "Req: { type: object, required: [id], properties: { id: { type: string, maxLength: 3 }",
            "S: `Req.id` has the maxLength 3, it was none",
        ),
    ]);
}

#[test]
fn words() {
    each(&[
        (
            "x-extensible-enum: [a, b]",
            "x-extensible-enum: [a, b, c]",
            "-: `Word` has the new value \"c\"",
        ),
        (
            "x-extensible-enum: [a, b]",
            "x-extensible-enum: [a]",
            "C: `Word` no longer has the value \"b\"",
        ),
        (" enum: [a, b]", " enum: [a, b, c]", "C: `Shut` has the new value \"c\""),
        (" enum: [a, b]", " enum: [a]", "C: `Shut` no longer has the value \"b\""),
    ]);
}

#[test]
fn types_and_events() {
    each(&[
        ("    Twin:", "    More: { type: string }\n    Twin:", "-: type `More` was added"),
        (
            "    Word: { type: string, x-extensible-enum: [a, b] }\n",
            "",
            "C: type `Word` was removed",
        ),
        (
            "payload: { $ref: '#/components/schemas/Gone' }",
            "payload: { $ref: '#/components/schemas/Twin' }",
            "CS: event `gone` carries `Twin`, it was `Gone`",
        ),
    ]);
    assert_eq!(
        changed("enum: [gone]", "enum: [left]"),
        ["C: event `gone` was removed", "-: event `left` was added, with `Gone`"]
    );
}

#[test]
fn the_report_sorts_and_names_the_step() {
    let change = |breaks, text: &str| Change::new(breaks, text.to_owned());
    let all = [
        change(Breaks::Nobody, "`A.b` was added, optional"),
        change(Breaks::Both, "`HeartbeatResponse.reconcile` became optional"),
        change(Breaks::Server, "`send` is PUT /a, it was POST /a"),
    ];
    assert_eq!(
        report(&all, "0.1.3"),
        "breaking for callers (their code must change): 1
  - `HeartbeatResponse.reconcile` became optional (and for the server's side)
breaking for the server's side (its deployed clients fail): 1
  - `send` is PUT /a, it was POST /a
harmless: 1
  - `A.b` was added, optional
version: 0.1.3 -> 0.2.0 (a breaking release)"
    );
    assert_eq!(step(&all[..1], "0.1.3"), "version: 0.1.3 -> 0.1.4 (a compatible release)");
    assert_eq!(step(&all, "1.4.2"), "version: 1.4.2 -> 2.0.0 (a breaking release)");
    assert_eq!(step(&all[..1], "1.4.2"), "version: 1.4.2 -> 1.5.0 (a compatible release)");
    assert_eq!(
        step(&all[2..], "1.4.2"),
        "version: 1.4.2 -> 1.5.0 (a compatible release; older versions do not work with the new server)"
    );
    assert_eq!(step(&[], "1.4.2"), "version: stays 1.4.2");
}
