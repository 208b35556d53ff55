//! Changes of operations: where they are, what they take and answer, who may call them.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::schemas::{Way, compare};
use super::{Breaks, Change};
use crate::spec::{Operation, Spec, is_success, list, map};

pub fn changes(old: &Spec, new: &Spec) -> Vec<Change> {
    let before: BTreeMap<String, Operation<'_>> = by_id(old);
    let after = by_id(new);
    let mut found = Vec::new();
    for (id, was) in &before {
        match after.get(id) {
            None => found.push(Change::new(Breaks::Both, format!("operation `{id}` was removed"))),
            Some(is) => {
                let pair = Pair { id, old, new, was, is };
                found.extend(pair.place());
                found.extend(pair.parameters());
                found.extend(pair.body());
                found.extend(pair.answers());
                found.extend(pair.security());
            }
        }
    }
    for (id, is) in after.iter().filter(|(id, _)| !before.contains_key(*id)) {
        let place = format!("{} {}", is.method.to_uppercase(), is.path);
        found.push(Change::new(Breaks::Nobody, format!("operation `{id}` was added ({place})")));
    }
    found.extend(schemes(old, new));
    found
}

fn by_id(spec: &Spec) -> BTreeMap<String, Operation<'_>> {
    spec.operations().into_iter().map(|operation| (operation.id(), operation)).collect()
}

/// One operation in both documents.
struct Pair<'a> {
    id: &'a str,
    old: &'a Spec,
    new: &'a Spec,
    was: &'a Operation<'a>,
    is: &'a Operation<'a>,
}

impl Pair<'_> {
    fn change(&self, breaks: Breaks, text: &str) -> Change {
        Change::new(breaks, format!("`{}` {text}", self.id))
    }

    fn place(&self) -> Option<Change> {
        let place = |o: &Operation<'_>| format!("{} {}", o.method.to_uppercase(), o.path);
        let (was, is) = (place(self.was), place(self.is));
        (was != is).then(|| self.change(Breaks::Server, &format!("is {is}, it was {was}")))
    }

    fn parameters(&self) -> Vec<Change> {
        let before = named(self.was.parameters(&self.old.value));
        let after = named(self.is.parameters(&self.new.value));
        let mut found = Vec::new();
        for (name, was) in &before {
            let Some(is) = after.get(name) else {
                found.push(self.change(Breaks::Callers, &format!("no longer takes the {name}")));
                continue;
            };
            match (was["required"] == true, is["required"] == true) {
                (false, true) => found.push(
                    self.change(Breaks::Both, &format!("requires the {name}, which was optional")),
                ),
                (true, false) => found
                    .push(self.change(Breaks::Callers, &format!("no longer requires the {name}"))),
                _ => {}
            }
            let place = format!("{} {}", self.id, name.replace('`', ""));
            found.extend(compare(
                &place,
                &was["schema"],
                &is["schema"],
                Way::SENT,
                self.old,
                self.new,
            ));
        }
        for (name, is) in after.iter().filter(|(name, _)| !before.contains_key(*name)) {
            found.push(match is["required"] == true {
                true => self.change(Breaks::Both, &format!("requires the new {name}")),
                // The method has an argument more.
                false => self.change(Breaks::Callers, &format!("takes the new, optional {name}")),
            });
        }
        found
    }

    fn body(&self) -> Vec<Change> {
        let (was, is) = (self.was.body(&self.old.value), self.is.body(&self.new.value));
        match (was.is_empty(), is.is_empty()) {
            (true, true) => return Vec::new(),
            (true, false) => return vec![self.change(Breaks::Both, "takes a body, it took none")],
            (false, true) => return vec![self.change(Breaks::Callers, "no longer takes a body")],
            _ => {}
        }
        let mut found: Vec<Change> = self
            .media("takes", was, is)
            .map(|text| self.change(Breaks::Both, &text))
            .into_iter()
            .collect();
        let required =
            |operation: &Operation<'_>| operation.value["requestBody"]["required"] == true;
        match (required(self.was), required(self.is)) {
            (false, true) => {
                found.push(self.change(Breaks::Server, "requires its body, which was optional"))
            }
            (true, false) => found.push(self.change(Breaks::Nobody, "no longer requires its body")),
            _ => {}
        }
        for (media, was) in was {
            if let Some(is) = is.get(media) {
                let place = format!("{} body", self.id);
                found.extend(compare(
                    &place,
                    &was["schema"],
                    &is["schema"],
                    Way::SENT,
                    self.old,
                    self.new,
                ));
            }
        }
        found
    }

    fn media(
        &self,
        verb: &str,
        was: &Map<String, Value>,
        is: &Map<String, Value>,
    ) -> Option<String> {
        let names = |content: &Map<String, Value>| {
            content.keys().map(|media| format!("`{media}`")).collect::<Vec<_>>().join(" or ")
        };
        let (was, is) = (names(was), names(is));
        (was != is).then(|| format!("{verb} {is}, it was {was}"))
    }

    fn answers(&self) -> Vec<Change> {
        let before: BTreeMap<&str, &Value> = self.was.responses(&self.old.value).collect();
        let after: BTreeMap<&str, &Value> = self.is.responses(&self.new.value).collect();
        let mut found = Vec::new();
        for status in before.keys().filter(|status| !after.contains_key(*status)) {
            found.push(
                self.change(Breaks::Nobody, &format!("no longer documents the status {status}")),
            );
        }
        for status in after.keys().filter(|status| !before.contains_key(*status)) {
            found.push(self.change(Breaks::Nobody, &format!("documents the new status {status}")));
        }
        found.extend(self.success(&before, &after));
        for (status, was) in before.iter().filter(|(status, _)| !is_success(status)) {
            let Some(is) = after.get(status) else { continue };
            let text = self.media(
                &format!("explains {status} with"),
                map(&was["content"]),
                map(&is["content"]),
            );
            found.extend(text.map(|text| self.change(Breaks::Nobody, &text)));
        }
        found
    }

    /// All 2xx answers have one type, whichever the server picks.
    fn success(
        &self,
        before: &BTreeMap<&str, &Value>,
        after: &BTreeMap<&str, &Value>,
    ) -> Vec<Change> {
        let (was, is) = (content(before), content(after));
        match (was, is) {
            (None, None) => Vec::new(),
            (None, Some(_)) => {
                vec![self.change(Breaks::Callers, "answers with a body, it had none")]
            }
            (Some(_), None) => vec![self.change(Breaks::Both, "no longer answers with a body")],
            (Some((was_media, _)), Some((media, _))) if was_media != media => {
                vec![
                    self.change(
                        Breaks::Both,
                        &format!("answers with `{media}`, it was `{was_media}`"),
                    ),
                ]
            }
            // The frames of a stream are compared as events.
            (Some((media, _)), Some(_)) if media == "text/event-stream" => Vec::new(),
            (Some((_, was)), Some((_, is))) => {
                let place = format!("{} answer", self.id);
                compare(&place, &was["schema"], &is["schema"], Way::RECEIVED, self.old, self.new)
            }
        }
    }

    fn security(&self) -> Option<Change> {
        let ways = |spec: &Spec, operation: &Operation<'_>| {
            let security = operation.value.get("security").unwrap_or(&spec.value["security"]);
            let ways: BTreeSet<String> = list(security).iter().map(way).collect();
            match ways.is_empty() {
                true => "nothing".to_owned(),
                false => ways.into_iter().collect::<Vec<_>>().join(" or "),
            }
        };
        let (was, is) = (ways(self.old, self.was), ways(self.new, self.is));
        (was != is)
            .then(|| self.change(Breaks::Server, &format!("is authorised by {is}, it was {was}")))
    }
}

fn way(way: &Value) -> String {
    map(way).keys().map(|scheme| format!("`{scheme}`")).collect::<Vec<_>>().join(" and ")
}

fn content<'a>(answers: &BTreeMap<&str, &'a Value>) -> Option<(&'a String, &'a Value)> {
    answers
        .iter()
        .filter(|(s, _)| is_success(s))
        .find_map(|(_, a)| map(&a["content"]).iter().next())
}

fn named(parameters: Vec<&Value>) -> BTreeMap<String, &Value> {
    let name = |p: &Value| {
        let text = |key: &str| p[key].as_str().unwrap_or_default().to_owned();
        format!("{} parameter `{}`", text("in"), text("name"))
    };
    parameters.into_iter().map(|parameter| (name(parameter), parameter)).collect()
}

fn schemes(old: &Spec, new: &Spec) -> Vec<Change> {
    let of = |spec: &Spec| super::without_words(&spec.value["components"]["securitySchemes"]);
    let (before, after) = (of(old), of(new));
    let changed =
        map(&before).iter().filter(|(name, was)| after.get(*name).is_some_and(|is| is != *was));
    changed
        .map(|(name, was)| {
            let text = format!(
                "security scheme `{name}` is {}, it was {}",
                shown_scheme(&after[name]),
                shown_scheme(was)
            );
            Change::new(Breaks::Server, text)
        })
        .collect()
}

fn shown_scheme(scheme: &Value) -> String {
    let parts = ["type", "scheme", "in", "name"].into_iter().filter_map(|key| scheme[key].as_str());
    parts.collect::<Vec<_>>().join(" ")
}
