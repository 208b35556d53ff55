//! A change of the API from its first line to a call that a test makes: a field
//! and an operation are added in a copy of this repository.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::against;
use crate::repo::Repo;
use crate::report::Line;
use crate::spec::{self, Spec};
use crate::verify::{document, readings, surface};

/// A file, a line in it, and what is put before that line.
type Edit = (&'static str, &'static str, &'static str);

/// What the author of the change writes first.
const DOCUMENT: [Edit; 3] = [
    (
        spec::PATH,
        "        rotate_keys: { type: boolean",
        "        message: { type: string, description: A word to the node's owner. }\n",
    ),
    (
        spec::PATH,
        "components:\n  securitySchemes:",
        "  /v1/nodes/{node_id}/ready:
    parameters:
      - $ref: '#/components/parameters/NodeId'
    post:
      operationId: report_ready
      tags: [Lifecycle]
      summary: Say that the node is ready
      description: Sent once, after the first state is in force.
      requestBody:
        required: true
        content:
          application/json:
            schema: { $ref: '#/components/schemas/ReadyReport' }
            example: { after: 2.5s }
      responses:
        '204':
          description: It is noted.
        '401': { $ref: '#/components/responses/Unauthorized' }
        '403': { $ref: '#/components/responses/Forbidden' }
        '429': { $ref: '#/components/responses/TooManyRequests' }
        '500': { $ref: '#/components/responses/InternalServerError' }
        '503': { $ref: '#/components/responses/ServiceUnavailable' }

",
    ),
    (
        spec::PATH,
        "    CapabilitiesPayload:\n",
        "    ReadyReport:
      type: object
      description: The node works.
      required: [after]
      properties:
        after: { type: string, description: 'How long it took: a Go duration string.' }
      example: { after: 2.5s }

",
    ),
];

/// What `verify-spec` asks for then.
const MENDS: [Edit; 6] = [
    (
        "src/endpoints.rs",
        "    /// Removes the node from the mesh (",
        "    /// Says that the node is ready (`POST /v1/nodes/{node_id}/ready`).
    ///
    /// # Errors
    /// Those of every call: see [`ErrorKind`].
    ///
    /// # Cancel safety
    /// Dropping the future abandons the request; the server may have acted on it.
    pub async fn report_ready(&self, node_id: &str, body: &types::ReadyReport) -> Result<(), Error> {
        check(\"report_ready\", &[(\"node_id\", node_id)])?;
        self.transport.call(\"report_ready\", async |api| api.report_ready(node_id, body).await).await
    }

",
    ),
    (
        "mock/src/routes.rs",
        "    get(\"ping\",",
        "    send(\"report_ready\", \"POST\", \"/v1/nodes/{node_id}/ready\", object(&READY_REPORT), Ignored, 204),\n",
    ),
    (
        "mock/src/schema/objects.rs",
        "pub static STATE_RESPONSE:",
        "pub static READY_REPORT: Schema =
    Schema { name: \"ReadyReport\", fields: &[required(\"after\", Kind::String)] };

",
    ),
    ("mock/src/schema/objects.rs", "optional(\"rotate_keys\", Kind::Boolean)", "optional(\"message\", Kind::String), "),
    ("mock/src/schema/mod.rs", "    &REGISTER_REQUEST,\n", "    &READY_REPORT,\n"),
    ("mock/src/handlers/mod.rs", "        \"ping\" =>", "        \"report_ready\" => Ok(call.done()),\n"),
];

const CALL: &str = r##"//! The new operation, called.

use plexsphere_client::{Config, ControlPlane, types};
use plexsphere_mock::{Answer, MockControlPlane};

#[tokio::test]
async fn the_node_says_that_it_is_ready() {
    let mock = MockControlPlane::start().await.unwrap();
    mock.script("report_ready", Answer::status(204));
    let client = ControlPlane::new(Config::new(mock.url()).unwrap(), "1.0.0").unwrap();
    client.set_auth_token("token").unwrap();
    client.report_ready("node-1", &types::ReadyReport { after: "2.5s".into() }).await.unwrap();
    let sent = mock.requests().remove(0);
    assert_eq!(sent.path, "/v1/nodes/node-1/ready");
    let answer: types::HeartbeatResponse = serde_json::from_str(r#"{"message":"hi"}"#).unwrap();
    assert_eq!(answer.message.as_deref(), Some("hi"));
}
"##;

#[test]
fn a_field_and_an_operation_are_added() {
    let copy = copy(&Repo::here());
    let before = Spec::of(&copy).unwrap();
    assert_eq!(problems(&copy), [""; 0]);

    apply(&copy, &DOCUMENT);
    let after = Spec::of(&copy).unwrap();
    let found = problems(&copy);
    let bless = "run `cargo xtask verify-spec --bless` and review the diff";
    for line in [
        &format!(
            "openapi/surface.txt lacks `operation report_ready = POST /v1/nodes/{{node_id}}/ready (node_id: &str, body: &ReadyReport) -> ()`: {bless}"
        ),
        &format!(
            "openapi/surface.txt lacks `field HeartbeatResponse.message: Option<String>, may be absent`: {bless}"
        ),
        "the mock has no `operation report_ready` (POST /v1/nodes/{node_id}/ready takes ReadyReport, answers nothing): add it to mock/src/routes.rs",
        "the mock has no `field readyreport.after` (string): add it to mock/src/routes.rs",
        "the crate has no `operation report_ready` (POST /v1/nodes/{node_id}/ready takes ReadyReport, answers nothing): add it to src/endpoints.rs, src/events or src/values",
    ] {
        assert!(found.iter().any(|problem| problem == line), "no `{line}` in {found:#?}");
    }
    let changes = against::changes(&before, &after);
    let said: Vec<_> = changes.iter().map(|c| (c.text.as_str(), c.callers, c.server)).collect();
    assert_eq!(
        said,
        [
            ("operation `report_ready` was added (POST /v1/nodes/{node_id}/ready)", false, false),
            ("`HeartbeatResponse.message` was added, optional", false, false),
            ("type `ReadyReport` was added", false, false),
        ]
    );

    apply(&copy, &MENDS);
    let diff = surface::bless(&copy).unwrap();
    assert_eq!(
        diff.lines().collect::<Vec<_>>(),
        [
            "+ operation report_ready = POST /v1/nodes/{node_id}/ready (node_id: &str, body: &ReadyReport) -> ()",
            "+ field HeartbeatResponse.message: Option<String>, may be absent",
            "+ type ReadyReport, sent",
            "+ field ReadyReport.after: String",
            "openapi/surface.txt is renewed",
        ]
    );
    assert_eq!(problems(&copy), [""; 0]);
    call(&copy);
}

/// What the checks say that need no build of the client.
fn problems(copy: &Repo) -> Vec<String> {
    let spec = Spec::of(copy).unwrap();
    let lines: [Line; 3] =
        [document::check(&spec), surface::check(copy, &spec), readings::check(copy, &spec)];
    lines.into_iter().flat_map(|line| line.problems).collect()
}

/// Builds the client anew and calls the new operation.
fn call(copy: &Repo) {
    fs::create_dir_all(copy.root.join("tests")).unwrap();
    copy.write("tests/ready.rs", CALL).unwrap();
    let run = Command::new(env!("CARGO"))
        .args(["test", "--quiet", "--offline", "--test", "ready"])
        .current_dir(&copy.root)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&run.stdout) + String::from_utf8_lossy(&run.stderr);
    assert!(run.status.success() && said.contains("1 passed"), "{said}");
}

/// A copy of the tracked files, with a target directory of its own that is kept:
/// in a shared one cargo would take the copy's crates for these.
fn copy(repo: &Repo) -> Repo {
    let root = repo.root.join("target/worked-change");
    let listed = Command::new("git").args(["ls-files"]).current_dir(&repo.root).output().unwrap();
    for path in String::from_utf8(listed.stdout).unwrap().lines() {
        // A file that another task just moved is not there.
        let Ok(text) = fs::read(repo.root.join(path)) else { continue };
        write_if_changed(&root.join(path), &text);
    }
    Repo { root }
}

/// A file that stays as it was needs no new build.
fn write_if_changed(path: &Path, text: &[u8]) {
    if fs::read(path).is_ok_and(|there| there == text) {
        return;
    }
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

fn apply(copy: &Repo, edits: &[Edit]) {
    for (path, before, text) in edits {
        let old = copy.read(path).unwrap();
        assert!(old.contains(before), "{path} has no `{before}`");
        copy.write(path, &old.replacen(before, &format!("{text}{before}"), 1)).unwrap();
    }
}
