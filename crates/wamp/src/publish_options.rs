//! The options of a publication, and the filter that black and white lists make.

use stentor_model::SessionId;

use crate::identity::Identity;
use crate::value::{Dict, Value};

/// What `PUBLISH.Options` may ask for. Unknown options are ignored, as the specification demands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublishOptions {
    /// PUBLISHED or ERROR is sent back.
    pub acknowledge: bool,
    /// The publisher does not receive its own event; on by default.
    pub exclude_me: bool,
    /// The publisher asks to be named in the event.
    pub disclose_me: bool,
    /// The event is kept for later subscribers.
    pub retain: bool,
    /// Who may receive the event; nobody is left out where it is absent, the usual case.
    pub filter: Option<Box<Filter>>,
}

impl Default for PublishOptions {
    fn default() -> Self {
        Self { acknowledge: false, exclude_me: true, disclose_me: false, retain: false, filter: None }
    }
}

/// Black and white lists. An event goes to a session that is on no black list and on every white list that is present.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Sessions left out.
    pub exclude: Vec<SessionId>,
    /// Names left out.
    pub exclude_authid: Vec<String>,
    /// Roles left out.
    pub exclude_authrole: Vec<String>,
    /// The only sessions.
    pub eligible: Option<Vec<SessionId>>,
    /// The only names.
    pub eligible_authid: Option<Vec<String>>,
    /// The only roles.
    pub eligible_authrole: Option<Vec<String>>,
}

impl Filter {
    /// Whether it names those who may receive the event, and not only those who may not.
    #[must_use]
    pub const fn is_selective(&self) -> bool {
        self.eligible.is_some() || self.eligible_authid.is_some() || self.eligible_authrole.is_some()
    }

    /// Octets that the lists take in memory, roughly.
    pub(crate) fn bytes(&self) -> usize {
        let ids = self.exclude.len() + self.eligible.as_ref().map_or(0, Vec::len);
        let lists = [Some(&self.exclude_authid), Some(&self.exclude_authrole)];
        let lists = lists.into_iter().chain([self.eligible_authid.as_ref(), self.eligible_authrole.as_ref()]);
        let names = lists.flatten().flatten().map(|name| size_of::<String>() + name.len());
        size_of::<Self>() + ids * size_of::<SessionId>() + names.sum::<usize>()
    }

    /// Whether `who` may receive the event.
    #[must_use]
    pub fn admits(&self, who: &Identity) -> bool {
        let named = |list: &[String], name: &str| list.iter().any(|one| one == name);
        !self.exclude.contains(&who.session)
            && !named(&self.exclude_authid, &who.authid)
            && !named(&self.exclude_authrole, &who.authrole)
            && self.eligible.as_ref().is_none_or(|list| list.contains(&who.session))
            && self.eligible_authid.as_ref().is_none_or(|list| named(list, &who.authid))
            && self.eligible_authrole.as_ref().is_none_or(|list| named(list, &who.authrole))
    }
}

/// An option with the wrong type: which, and what it must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OptionFault {
    /// The option, with the element's place where it is one element's fault.
    pub option: String,
    /// What it must be.
    pub expected: &'static str,
}

impl std::fmt::Display for OptionFault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "option '{}' must be {}", self.option, self.expected)
    }
}

impl PublishOptions {
    /// Reads the dictionary of a PUBLISH or of a submitted event.
    ///
    /// # Errors
    /// Names the first option whose type is wrong.
    pub fn from_dict(dict: &Dict) -> Result<Self, OptionFault> {
        let mut options = Self::default();
        if dict.is_empty() {
            return Ok(options);
        }
        let mut filter = Filter::default();
        for (name, value) in dict.iter() {
            match name {
                // What a client's user left out.
                _ if *value == Value::Null => {}
                "acknowledge" => options.acknowledge = flag(name, value)?,
                "exclude_me" => options.exclude_me = flag(name, value)?,
                "disclose_me" => options.disclose_me = flag(name, value)?,
                "retain" => options.retain = flag(name, value)?,
                "exclude" => filter.exclude = sessions(name, value)?,
                "exclude_authid" => filter.exclude_authid = names(name, value)?,
                "exclude_authrole" => filter.exclude_authrole = names(name, value)?,
                "eligible" => filter.eligible = Some(sessions(name, value)?),
                "eligible_authid" => filter.eligible_authid = Some(names(name, value)?),
                "eligible_authrole" => filter.eligible_authrole = Some(names(name, value)?),
                _ => {}
            }
        }
        options.filter = (filter != Filter::default()).then(|| Box::new(filter));
        Ok(options)
    }
}

fn fault(option: &str, expected: &'static str) -> OptionFault {
    OptionFault { option: option.to_owned(), expected }
}

/// A boolean option; an integer is not taken for one.
pub(crate) fn flag(name: &str, value: &Value) -> Result<bool, OptionFault> {
    value.as_bool().ok_or_else(|| fault(name, "true or false"))
}

/// A list of session ids; a single one is taken for a list of one, as existing publishers send it.
fn sessions(name: &str, value: &Value) -> Result<Vec<SessionId>, OptionFault> {
    const EXPECTED: &str = "a session id from 1 to 2^53";
    let one = |value: &Value| value.as_u64().and_then(SessionId::new);
    if let Some(session) = one(value) {
        return Ok(vec![session]);
    }
    let items = value.as_list().ok_or_else(|| fault(name, "a list of session ids"))?;
    items
        .iter()
        .enumerate()
        .map(|(at, item)| one(item).ok_or_else(|| fault(&format!("{name}[{at}]"), EXPECTED)))
        .collect()
}

fn names(name: &str, value: &Value) -> Result<Vec<String>, OptionFault> {
    let items = value.as_list().ok_or_else(|| fault(name, "a list of strings"))?;
    items
        .iter()
        .enumerate()
        .map(|(at, item)| item.as_str().map(str::to_owned).ok_or_else(|| fault(&format!("{name}[{at}]"), "a string")))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::Features;

    fn check(dict: Dict, expected: Result<PublishOptions, &str>) {
        assert_eq!(
            PublishOptions::from_dict(&dict).map_err(|f| f.to_string()),
            expected.map_err(str::to_owned),
            "{dict:?}"
        );
    }

    #[test]
    fn types_are_checked_and_unknown_options_ignored() {
        check(Dict::new().with("whatever", 1), Ok(PublishOptions::default()));
        check(Dict::new().with("acknowledge", true), Ok(PublishOptions { acknowledge: true, ..Default::default() }));
        check(Dict::new().with("acknowledge", Value::Null), Ok(PublishOptions::default()));
        check(Dict::new().with("acknowledge", 1), Err("option 'acknowledge' must be true or false"));
        check(Dict::new().with("exclude", "x"), Err("option 'exclude' must be a list of session ids"));
        check(
            Dict::new().with("eligible", vec![Value::from(5), Value::from("x")]),
            Err("option 'eligible[1]' must be a session id from 1 to 2^53"),
        );
        check(
            Dict::new().with("eligible_authid", vec![Value::Bool(true)]),
            Err("option 'eligible_authid[0]' must be a string"),
        );
    }

    #[test]
    fn lists() {
        let who = Identity {
            session: SessionId::new(5).unwrap(),
            authid: "joe".into(),
            authrole: "user".into(),
            authmethod: "ticket",
            authprovider: "static",
            features: Features::default(),
        };
        let check = |dict: Dict, expected: bool| {
            let options = PublishOptions::from_dict(&dict).unwrap();
            assert_eq!(options.filter.is_none_or(|filter| filter.admits(&who)), expected, "{dict:?}");
        };
        check(Dict::new(), true);
        check(Dict::new().with("exclude", 5), false);
        check(Dict::new().with("exclude", vec![Value::from(6)]), true);
        check(Dict::new().with("eligible", Vec::new()), false);
        check(Dict::new().with("eligible", vec![Value::from(5)]).with("exclude_authid", vec!["joe".into()]), false);
        check(Dict::new().with("eligible_authrole", vec!["user".into()]), true);
        check(Dict::new().with("eligible_authid", vec!["jim".into()]), false);
        check(Dict::new().with("exclude_authrole", vec!["user".into()]), false);
    }
}
