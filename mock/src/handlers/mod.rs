//! What each operation does to the state.

mod artifacts;
mod executions;
mod nodes;
mod reports;
mod view;

use http::HeaderMap;
use http::header::AUTHORIZATION;
use serde_json::Value;

use crate::answer::Answer;
use crate::builder::EmptyLists;
use crate::problem::Problem;
use crate::routes::{Answers, Parameters, Route};
use crate::schema::Kind;
use crate::server::Inner;

/// A request that is authorised and well-formed.
pub(crate) struct Call<'a> {
    pub(crate) inner: &'a Inner,
    pub(crate) route: &'static Route,
    pub(crate) parameters: &'a Parameters,
    pub(crate) headers: &'a HeaderMap,
    pub(crate) body: Value,
    pub(crate) caller: Caller,
}

/// Whose token came with the request.
pub(crate) enum Caller {
    Bootstrap,
    Node(String),
}

impl Call<'_> {
    fn node_id(&self) -> &str {
        self.parameters.get("node_id")
    }

    /// A string field of the body; empty if it is missing.
    fn text(&self, field: &str) -> &str {
        self.body.get(field).and_then(Value::as_str).unwrap_or_default()
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// An id in the body must be that of the path.
    fn same_as_path(&self, name: &str) -> Result<(), Problem> {
        let (path, body) = (self.parameters.get(name), self.text(name));
        match path == body {
            true => Ok(()),
            false => Err(Problem::bad_request(
                "id_mismatch",
                format!("{name} is {body:?} in the body, {path:?} in the path"),
            )),
        }
    }

    fn not_empty(&self, field: &str) -> Result<&str, Problem> {
        match self.text(field) {
            "" => Err(Problem::bad_request(
                "invalid_field",
                format!("field {field:?} must not be empty"),
            )),
            text => Ok(text),
        }
    }

    /// The route's success, without a body.
    fn done(&self) -> Answer {
        Answer::status(self.route.success)
    }

    /// The route's success with a JSON body, its empty lists as the settings say.
    fn json(&self, mut value: Value) -> Answer {
        if let Answers::Json(kind) = &self.route.answer {
            shape_lists(kind, &mut value, self.inner.settings.empty_lists);
        }
        self.done().json(&value)
    }
}

/// 401 without a living token, 404 for an unknown node, 403 for another's path.
pub(crate) fn authorize(
    inner: &Inner,
    route: &Route,
    parameters: &Parameters,
    headers: &HeaderMap,
) -> Result<Caller, Problem> {
    let token = bearer(headers)?;
    let bootstrap = token == inner.settings.bootstrap_token;
    if route.operation == "register" {
        return match bootstrap {
            true => Ok(Caller::Bootstrap),
            false => Err(Problem::unauthorized("this is not the bootstrap token")),
        };
    }
    let state = inner.state();
    let owner = state.owner(token);
    match (parameters.find("node_id"), owner) {
        (_, None) if !bootstrap => {
            Err(Problem::unauthorized("the token is unknown or no longer valid"))
        }
        (Some(node_id), _) if !state.nodes.contains_key(node_id) => {
            Err(Problem::not_found("unknown_node", format!("there is no node {node_id:?}")))
        }
        (Some(node_id), Some(owner)) if node_id == owner => Ok(Caller::Node(owner.to_owned())),
        (Some(_), _) => Err(forbidden("the token belongs to another node")),
        (None, Some(owner)) => Ok(Caller::Node(owner.to_owned())),
        (None, None) => Ok(Caller::Bootstrap),
    }
}

fn forbidden(detail: &str) -> Problem {
    Problem::new(http::StatusCode::FORBIDDEN, "forbidden", detail)
}

fn bearer(headers: &HeaderMap) -> Result<&str, Problem> {
    let Some(value) = headers.get(AUTHORIZATION) else {
        return Err(Problem::unauthorized("the Authorization header is missing"));
    };
    let token = value.to_str().ok().and_then(|value| value.strip_prefix("Bearer "));
    token.ok_or_else(|| Problem::unauthorized("Authorization must be a bearer token"))
}

pub(crate) fn handle(call: &Call) -> Result<Answer, Problem> {
    match call.route.operation {
        "register" => nodes::register(call),
        "heartbeat" => nodes::heartbeat(call),
        "deregister" => Ok(nodes::deregister(call)),
        "rotate_keys" => nodes::rotate_keys(call),
        "update_capabilities" => Ok(nodes::update_capabilities(call)),
        "report_endpoint" => nodes::report_endpoint(call),
        "fetch_state" => view::fetch_state(call),
        "connect_sse" => view::connect_sse(call),
        "fetch_secret" => view::fetch_secret(call),
        "report_drift" | "report_integrity_violation" => Ok(reports::keep(call)),
        "report_metrics" | "report_logs" | "report_audit" => Ok(reports::count(call)),
        "sync_reports" => reports::sync(call),
        "tunnel_ready" | "tunnel_closed" => Ok(reports::tunnel(call)),
        "ack_execution" => executions::ack(call),
        "report_result" => executions::result(call),
        "fetch_artifact" => artifacts::fetch(call),
        "ping" => Ok(call.done().text("pong\n")),
        other => panic!("the route table names {other}, and nothing handles it"),
    }
}

/// Writes the empty lists of an answer as `[]`, as `null`, or not at all. Free JSON stays as it is.
fn shape_lists(kind: &Kind, value: &mut Value, style: EmptyLists) {
    match (kind, value) {
        (Kind::Object(schema), Value::Object(fields)) => {
            for field in schema.fields {
                let is_list = matches!(field.kind, Kind::List(_) | Kind::Map(_));
                let Some(value) = fields.get_mut(field.name) else {
                    continue;
                };
                match style {
                    EmptyLists::Null if is_list && is_empty(value) => *value = Value::Null,
                    EmptyLists::Missing if is_list && is_empty(value) => {
                        drop(fields.remove(field.name))
                    }
                    _ => shape_lists(&field.kind, value, style),
                }
            }
        }
        (Kind::List(item), Value::Array(items)) => {
            items.iter_mut().for_each(|value| shape_lists(item, value, style));
        }
        _ => {}
    }
}

fn is_empty(value: &Value) -> bool {
    value.as_array().is_some_and(Vec::is_empty)
        || value.as_object().is_some_and(serde_json::Map::is_empty)
}
