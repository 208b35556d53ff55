//! What is changed in the generated calls: what a request says, how its body is written, and
//! how its answer is read.

use openapiv3::{OpenAPI, Operation, ReferenceOr};
use quote::ToTokens;
use syn::visit_mut::VisitMut;

/// No request sends the document's version, which no server asked for. A map of headers in
/// which nothing else is put goes with it.
pub struct NoApiVersion;

impl VisitMut for NoApiVersion {
    fn visit_impl_item_fn_mut(&mut self, function: &mut syn::ImplItemFn) {
        let statements = &mut function.block.stmts;
        statements.retain(|statement| !mentions(statement, "\"api-version\""));
        if statements.iter().any(|statement| mentions(statement, "header_map . append")) {
            return;
        }
        statements.retain(|statement| !mentions(statement, "let mut header_map"));
        syn::visit_mut::visit_impl_item_fn_mut(self, function);
    }

    fn visit_expr_mut(&mut self, expression: &mut syn::Expr) {
        if let syn::Expr::MethodCall(call) = expression
            && call.method == "headers"
            && call.args.iter().any(|argument| mentions(argument, "header_map"))
        {
            *expression = (*call.receiver).clone();
        }
        syn::visit_mut::visit_expr_mut(self, expression);
    }
}

/// `transport/hooks.rs` sets `Accept` for every request.
pub struct NoAccept;

impl VisitMut for NoAccept {
    fn visit_expr_mut(&mut self, expression: &mut syn::Expr) {
        if let syn::Expr::MethodCall(call) = expression
            && call.method == "header"
            && call.args.first().is_some_and(|name| mentions(name, "header :: ACCEPT"))
        {
            *expression = (*call.receiver).clone();
        }
        syn::visit_mut::visit_expr_mut(self, expression);
    }
}

/// Each body is written by `transport/body.rs`: what the generator calls in its place, reqwest's
/// `json`, makes the whole text before anything can be compressed.
#[derive(Default)]
pub struct OwnJson {
    rewritten: usize,
}

impl OwnJson {
    /// Rewrites the methods of the client in `file`, of the document `spec`. The error is that
    /// they do not have the form that is known.
    pub fn rewrite(file: &mut syn::File, spec: &OpenAPI) -> Result<(), String> {
        let expected = spec.operations().filter(|(_, _, operation)| sends_json(operation)).count();
        let mut pass = Self::default();
        pass.visit_file_mut(file);
        if pass.rewritten == expected {
            return Ok(());
        }
        Err(format!(
            "{expected} operations send JSON, but {} calls of `.json(&body)` were found in the generated code: \
             the generator has changed; mend OwnJson in build/calls.rs",
            pass.rewritten
        ))
    }
}

impl VisitMut for OwnJson {
    fn visit_expr_mut(&mut self, expression: &mut syn::Expr) {
        if let syn::Expr::MethodCall(call) = expression
            && call.method == "json"
            && call.args.to_token_stream().to_string() == "& body"
        {
            let request = &call.receiver;
            *expression = syn::parse_quote!(crate::transport::body::json(#request, &body));
            self.rewritten += 1;
        }
        syn::visit_mut::visit_expr_mut(self, expression);
    }
}

fn sends_json(operation: &Operation) -> bool {
    // A body that stands elsewhere, or in another kind of JSON, has been refused.
    let body = operation.request_body.as_ref().and_then(ReferenceOr::as_item);
    body.is_some_and(|body| body.content.contains_key("application/json"))
}

/// Each call that is no stream ends in `transport::answer`, and gives the value alone: the
/// generator's own reading copies the headers and has no limit.
#[derive(Default)]
pub struct Answers {
    /// Calls that do not end as the generator ended them when this was written.
    unknown: Vec<String>,
}

impl Answers {
    /// Rewrites all calls of `file`. The error is that one ends in a way that is not known.
    pub fn rewrite(file: &mut syn::File) -> Result<(), String> {
        let mut pass = Self::default();
        pass.visit_file_mut(file);
        if pass.unknown.is_empty() {
            return Ok(());
        }
        Err(format!(
            "the generator ends `{}` in another way than it used to: see what it writes there, and \
             teach it to `Answers` in build/calls.rs",
            pass.unknown.join("`, `")
        ))
    }
}

impl VisitMut for Answers {
    fn visit_impl_item_fn_mut(&mut self, function: &mut syn::ImplItemFn) {
        let is_call = function.sig.asyncness.is_some();
        if is_call && change_end(function).is_none() {
            self.unknown.push(function.sig.ident.to_string());
        }
    }
}

fn change_end(call: &mut syn::ImplItemFn) -> Option<()> {
    let statements = &mut call.block.stmts;
    let kept = statements.len().checked_sub(5)?;
    let end = &statements[kept..];
    let end = quote::quote!(#(#end)*).to_string();
    let is = |success| end == end_with(&success);
    let reader = if is(quote::quote!(ResponseValue::from_response(response).await)) {
        quote::quote!(decoded)
    } else if is(quote::quote!(Ok(ResponseValue::empty(response)))) {
        quote::quote!(ignored)
    } else {
        return is(quote::quote!(Ok(ResponseValue::stream(response)))).then_some(());
    };
    statements.truncate(kept);
    let read = syn::parse_quote! {
        crate::transport::answer::#reader(self, self.send(request, &info)).await
    };
    statements.push(syn::Stmt::Expr(read, None));
    ValueAlone.visit_return_type_mut(&mut call.sig.output);
    Some(())
}

/// How the generator ends a call: `success` is what it makes of a good answer.
fn end_with(success: &impl ToTokens) -> String {
    let end = quote::quote! {
        self.pre(&mut request, &info).await?;
        let result = self.exec(request, &info).await;
        self.post(&result, &info).await?;
        let response = result?;
        match response.status().as_u16() {
            200..=299 => { #success }
            _ => Err(Error::UnexpectedResponse(response)),
        }
    };
    end.to_string()
}

/// `T` for each `ResponseValue<T>`.
struct ValueAlone;

impl VisitMut for ValueAlone {
    fn visit_type_mut(&mut self, ty: &mut syn::Type) {
        if let syn::Type::Path(path) = ty
            && let Some(last) = path.path.segments.last()
            && last.ident == "ResponseValue"
            && let syn::PathArguments::AngleBracketed(inner) = &last.arguments
            && let Some(syn::GenericArgument::Type(value)) = inner.args.first()
        {
            *ty = value.clone();
        } else {
            syn::visit_mut::visit_type_mut(self, ty);
        }
    }
}

fn mentions(code: &impl ToTokens, words: &str) -> bool {
    code.to_token_stream().to_string().contains(words)
}
