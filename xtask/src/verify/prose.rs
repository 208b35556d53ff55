//! What the document says to people: titles, words, statuses, and examples that are true.

use serde_json::Value;

use crate::judge::{Judge, examples};
use crate::spec::{Operation, Spec, is_success, list, map};

/// The statuses that every operation documents beside its success.
const STATUSES: [&str; 5] = ["401", "403", "429", "500", "503"];

/// How many examples there are, and what is missing or wrong.
pub fn check(spec: &Spec) -> (usize, Vec<String>) {
    let mut found = Vec::new();
    for operation in spec.operations() {
        let words = words(spec, &operation).into_iter().chain(statuses(spec, &operation));
        found.extend(words.map(|problem| format!("operation `{}`: {problem}", operation.id())));
    }
    let mut judged = Judged { judge: Judge::new(spec), count: 0, found };
    judged.operations(spec);
    for (name, schema) in spec.schemas() {
        judged.hold(&format!("schema `{name}`"), schema, schema);
    }
    (judged.count, judged.found)
}

fn words(spec: &Spec, operation: &Operation<'_>) -> Vec<String> {
    let mut found = Vec::new();
    for key in ["summary", "description"] {
        if operation.value[key].as_str().is_none_or(|text| text.trim().is_empty()) {
            found.push(format!("it has no {key}: write one"));
        }
    }
    let known: Vec<&Value> = list(&spec.value["tags"]).iter().map(|tag| &tag["name"]).collect();
    let tags = list(&operation.value["tags"]);
    if tags.is_empty() {
        found.push("it has no tag: give it one of `tags`".to_owned());
    }
    for tag in tags.iter().filter(|tag| !known.contains(tag)) {
        found.push(format!("its tag {tag} is not described: add it to `tags`"));
    }
    let security = operation.value.get("security").unwrap_or(&spec.value["security"]);
    let schemes = &spec.value["components"]["securitySchemes"];
    if list(security).is_empty() {
        found.push("nothing says how it is authorised: write `security`".to_owned());
    }
    for scheme in list(security).iter().flat_map(|way| map(way).keys()) {
        if schemes.get(scheme).is_none() {
            found.push(format!(
                "its security scheme `{scheme}` is not in `securitySchemes`: add it"
            ));
        }
    }
    found
}

fn statuses(spec: &Spec, operation: &Operation<'_>) -> Vec<String> {
    let mut found = Vec::new();
    let documented = map(&operation.value["responses"]);
    for status in STATUSES.into_iter().filter(|status| !documented.contains_key(*status)) {
        found.push(format!("status {status} is not documented: add the response"));
    }
    for (status, response) in operation.responses(&spec.value) {
        if response["description"].as_str().is_none_or(str::is_empty) {
            found.push(format!("response {status} has no description: write one"));
        }
    }
    found
}

struct Judged {
    judge: Judge,
    count: usize,
    found: Vec<String>,
}

impl Judged {
    fn operations(&mut self, spec: &Spec) {
        for operation in spec.operations() {
            let id = operation.id();
            for parameter in operation.parameters(&spec.value) {
                let place = format!("operation `{id}`: parameter {}", parameter["name"]);
                self.want(&place, parameter, &parameter["schema"]);
            }
            for media in operation.body(&spec.value).values() {
                self.want(&format!("operation `{id}`: its request body"), media, &media["schema"]);
            }
            for (status, response) in operation.responses(&spec.value) {
                let place = format!("operation `{id}`: response {status}");
                for media in map(&response["content"]).values() {
                    if media["schema"]["format"] == "binary" {
                        continue;
                    }
                    // An error's text is an example of nothing; a success is.
                    if is_success(status) {
                        self.want(&place, media, &media["schema"]);
                    } else {
                        self.hold(&place, media, &media["schema"]);
                    }
                }
            }
        }
    }

    /// An example must be there, and must fit.
    fn want(&mut self, place: &str, holder: &Value, schema: &Value) {
        if examples(holder).is_empty() {
            self.found.push(format!("{place} has no example: write one"));
        }
        self.hold(place, holder, schema);
    }

    /// What examples there are must fit.
    fn hold(&mut self, place: &str, holder: &Value, schema: &Value) {
        for example in examples(holder) {
            self.count += 1;
            for fault in self.judge.faults(schema, example) {
                self.found.push(format!("{place}: its example does not fit: {fault}"));
            }
        }
    }
}
