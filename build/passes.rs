//! What is changed on the way: the responses before the generator sees them, its types after.

use std::collections::{BTreeMap, BTreeSet};

use openapiv3::{MediaType, OpenAPI, Operation, PathItem, ReferenceOr, Response, StatusCode};
use syn::visit_mut::VisitMut;

/// The generator decodes one success type an operation, and loses the status of
/// an error body that does not decode. The document keeps every status for
/// people; the generated code sees one `2XX`, so that each failure arrives whole
/// at the one mapper.
pub fn only_success_responses(spec: &mut OpenAPI) {
    let shared = spec.components.clone().unwrap_or_default().responses;
    let resolve = |response: &ReferenceOr<Response>| match response {
        ReferenceOr::Item(response) => Some(response.clone()),
        ReferenceOr::Reference { reference } => {
            let name = reference.strip_prefix("#/components/responses/")?;
            shared.get(name)?.as_item().cloned()
        }
    };
    for item in spec.paths.paths.values_mut() {
        let ReferenceOr::Item(item) = item else { continue };
        for operation in operations_mut(item) {
            let responses = &mut operation.responses;
            let success = responses.responses.iter().filter(|(code, _)| is_success(code));
            // Whatever 2xx the server picks, the one that has content is the type.
            let kept = success
                .filter_map(|(_, response)| resolve(response))
                .min_by_key(|response| response.content.is_empty());
            let Some(mut response) = kept else { continue };
            if let Some(stream) = response.content.get_mut("text/event-stream") {
                *stream = MediaType::default();
            }
            responses.default = None;
            responses.responses.clear();
            responses.responses.insert(StatusCode::Range(2), ReferenceOr::Item(response));
        }
    }
}

fn operations_mut(item: &mut PathItem) -> impl Iterator<Item = &mut Operation> {
    [
        &mut item.get,
        &mut item.put,
        &mut item.post,
        &mut item.delete,
        &mut item.patch,
        &mut item.options,
        &mut item.head,
        &mut item.trace,
    ]
    .into_iter()
    .flatten()
}

fn is_success(code: &StatusCode) -> bool {
    matches!(code, StatusCode::Code(200..=299) | StatusCode::Range(2))
}

/// Each list and map field decodes from `null` and from nothing as empty; what is
/// written does not change.
pub struct NullIsEmpty;

impl VisitMut for NullIsEmpty {
    fn visit_field_mut(&mut self, field: &mut syn::Field) {
        // A tuple field belongs to a transparent newtype, which takes no attribute.
        if field.ident.is_none() || !is_collection(&field.ty) {
            return;
        }
        let has_default = field.attrs.iter().any(|attr| {
            attr.path().is_ident("serde") && quote::quote!(#attr).to_string().contains("default")
        });
        if !has_default {
            field.attrs.push(syn::parse_quote!(#[serde(default)]));
        }
        field
            .attrs
            .push(syn::parse_quote!(#[serde(deserialize_with = "crate::values::null_is_empty")]));
    }
}

fn is_collection(ty: &syn::Type) -> bool {
    let syn::Type::Path(path) = ty else { return false };
    path.path.segments.last().is_some_and(|s| s.ident == "Vec" || s.ident == "BTreeMap")
}

/// The server adds fields to what it sends, so a struct that only arrives is
/// `#[non_exhaustive]`; one that is sent can be written as a literal.
pub struct NonExhaustive {
    exhaustive: BTreeSet<String>,
}

impl NonExhaustive {
    /// For the types of `spec`, of which a request body reaches some.
    pub fn of(spec: &OpenAPI) -> Self {
        Self { exhaustive: request_types(spec) }
    }
}

impl VisitMut for NonExhaustive {
    fn visit_item_struct_mut(&mut self, item: &mut syn::ItemStruct) {
        let named = matches!(item.fields, syn::Fields::Named(_));
        let is_sent = self.exhaustive.contains(&type_key(&item.ident.to_string()));
        if named && item.ident != "Client" && !is_sent {
            item.attrs.push(syn::parse_quote!(#[non_exhaustive]));
        }
    }
}

/// The names of all schemas that a request body reaches.
fn request_types(spec: &OpenAPI) -> BTreeSet<String> {
    let mut waiting: Vec<String> = spec
        .operations()
        .filter_map(|(_, _, operation)| operation.request_body.as_ref())
        .flat_map(|body| references(&serde_json::to_value(body).unwrap_or_default()))
        .collect();
    let schemas = spec.components.clone().unwrap_or_default().schemas;
    let mut reached = BTreeSet::new();
    while let Some(name) = waiting.pop() {
        if reached.insert(name.clone())
            && let Some(schema) = schemas.get(&name)
        {
            waiting.extend(references(&serde_json::to_value(schema).unwrap_or_default()));
        }
    }
    reached.iter().map(|name| type_key(name)).collect()
}

/// The same for a schema and its type: the generator writes `NATInfo` as `NatInfo`.
fn type_key(name: &str) -> String {
    name.to_ascii_lowercase()
}

fn references(value: &serde_json::Value) -> Vec<String> {
    match value {
        serde_json::Value::Object(map) => {
            let here = map.get("$ref").and_then(|r| r.as_str()).and_then(|r| r.rsplit('/').next());
            here.map(str::to_owned).into_iter().chain(map.values().flat_map(references)).collect()
        }
        serde_json::Value::Array(list) => list.iter().flat_map(references).collect(),
        _ => Vec::new(),
    }
}

/// A property that is only a reference has no description of its own in OpenAPI 3.0:
/// its field takes that of the schema it refers to.
pub struct Documented {
    descriptions: BTreeMap<String, String>,
}

impl Documented {
    /// With the descriptions of `spec`.
    pub fn of(spec: &OpenAPI) -> Self {
        let schemas = spec.components.iter().flat_map(|components| &components.schemas);
        let described = schemas.filter_map(|(name, schema)| {
            let description = schema.as_item()?.schema_data.description.as_ref()?;
            Some((name.to_lowercase(), description.trim().to_owned()))
        });
        Self { descriptions: described.collect() }
    }

    fn description(&self, ty: &syn::Type) -> Option<&String> {
        let syn::Type::Path(path) = ty else { return None };
        let last = path.path.segments.last()?;
        let syn::PathArguments::AngleBracketed(inner) = &last.arguments else {
            return self.descriptions.get(&last.ident.to_string().to_lowercase());
        };
        inner.args.iter().find_map(|argument| match argument {
            syn::GenericArgument::Type(ty) => self.description(ty),
            _ => None,
        })
    }
}

impl VisitMut for Documented {
    fn visit_field_mut(&mut self, field: &mut syn::Field) {
        if field.ident.is_none() || field.attrs.iter().any(|attr| attr.path().is_ident("doc")) {
            return;
        }
        if let Some(description) = self.description(&field.ty) {
            field.attrs.push(syn::parse_quote!(#[doc = #description]));
        }
    }
}
