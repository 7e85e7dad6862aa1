//! The options of a publication, and the filter that black and white lists make.

use stentor_model::SessionId;

use crate::identity::Identity;
use crate::value::{Dict, Value};

/// Entries of a list that are compared one by one. Most lists have one or two; the longer ones are in order and searched by halves, or a
/// publication would cost the product of its entries and its receivers.
const ENTRIES_FEW: usize = 24;

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
        let ids = self.ids().map(Vec::len).sum::<usize>();
        let names = self.names().flatten().map(|name| size_of::<String>() + name.len());
        size_of::<Self>() + ids * size_of::<SessionId>() + names.sum::<usize>()
    }

    /// Whether `who` may receive the event. Whoever asks for many makes a [`Sieve`] first.
    #[must_use]
    pub fn admits(&self, who: &Identity) -> bool {
        self.judge(who, <[SessionId]>::contains, |list, name| list.iter().any(|one| one == name))
    }

    /// The same, by these two ways of looking a session and a name up.
    fn judge(
        &self,
        who: &Identity,
        has: impl Fn(&[SessionId], &SessionId) -> bool,
        named: impl Fn(&[String], &str) -> bool,
    ) -> bool {
        !has(&self.exclude, &who.session)
            && !named(&self.exclude_authid, &who.authid)
            && !named(&self.exclude_authrole, &who.authrole)
            && self.eligible.as_ref().is_none_or(|list| has(list, &who.session))
            && self.eligible_authid.as_ref().is_none_or(|list| named(list, &who.authid))
            && self.eligible_authrole.as_ref().is_none_or(|list| named(list, &who.authrole))
    }

    fn ids(&self) -> impl Iterator<Item = &Vec<SessionId>> {
        [Some(&self.exclude), self.eligible.as_ref()].into_iter().flatten()
    }

    fn names(&self) -> impl Iterator<Item = &Vec<String>> {
        let lists = [Some(&self.exclude_authid), Some(&self.exclude_authrole)];
        lists.into_iter().chain([self.eligible_authid.as_ref(), self.eligible_authrole.as_ref()]).flatten()
    }

    /// The filter for many questions.
    #[must_use]
    pub fn sieve(&self) -> Sieve<'_> {
        if self.ids().all(|list| is_short(list)) && self.names().all(|list| is_short(list)) {
            return Sieve::Short(self);
        }
        if self.ids().all(|list| is_ready(list)) && self.names().all(|list| is_ready(list)) {
            return Sieve::Ready(self);
        }
        let mut sorted = self.clone();
        [Some(&mut sorted.exclude), sorted.eligible.as_mut()].into_iter().flatten().for_each(|list| make_ready(list));
        let lists = [Some(&mut sorted.exclude_authid), Some(&mut sorted.exclude_authrole)];
        let lists = lists.into_iter().chain([sorted.eligible_authid.as_mut(), sorted.eligible_authrole.as_mut()]);
        lists.flatten().for_each(|list| make_ready(list));
        Sieve::Sorted(Box::new(sorted))
    }
}

/// A filter that many are held against.
#[derive(Debug)]
pub enum Sieve<'f> {
    /// There is nothing long in it.
    Short(&'f Filter),
    /// The long lists are in order, which is what reading them from options sees to.
    Ready(&'f Filter),
    /// They had to be sorted.
    Sorted(Box<Filter>),
}

impl Sieve<'_> {
    /// Whether `who` may receive the event.
    #[must_use]
    pub fn admits(&self, who: &Identity) -> bool {
        let filter = match self {
            Self::Short(filter) => return filter.admits(who),
            Self::Ready(filter) => filter,
            Self::Sorted(filter) => &**filter,
        };
        filter.judge(
            who,
            |list, session| if is_short(list) { list.contains(session) } else { list.binary_search(session).is_ok() },
            |list, name| {
                if is_short(list) {
                    return list.iter().any(|one| one == name);
                }
                list.binary_search_by(|one| one.as_str().cmp(name)).is_ok()
            },
        )
    }
}

const fn is_short<T>(list: &[T]) -> bool {
    list.len() <= ENTRIES_FEW
}

fn is_ready<T: Ord>(list: &[T]) -> bool {
    is_short(list) || list.is_sorted()
}

fn make_ready<T: Ord>(list: &mut [T]) {
    if !is_ready(list) {
        list.sort_unstable();
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
    let list =
        items.iter().enumerate().map(|(at, item)| one(item).ok_or_else(|| fault(&format!("{name}[{at}]"), EXPECTED)));
    let mut list: Vec<_> = list.collect::<Result<_, _>>()?;
    // Here nobody waits for it, and later a realm would.
    make_ready(&mut list);
    Ok(list)
}

fn names(name: &str, value: &Value) -> Result<Vec<String>, OptionFault> {
    let items = value.as_list().ok_or_else(|| fault(name, "a list of strings"))?;
    let text = |item: &Value| item.as_str().map(str::to_owned);
    let list = items
        .iter()
        .enumerate()
        .map(|(at, item)| text(item).ok_or_else(|| fault(&format!("{name}[{at}]"), "a string")));
    let mut list: Vec<_> = list.collect::<Result<_, _>>()?;
    make_ready(&mut list);
    Ok(list)
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

    fn who(session: u64, authid: &str, authrole: &str) -> Identity {
        Identity {
            session: SessionId::new(session).unwrap(),
            authid: authid.into(),
            authrole: authrole.into(),
            authmethod: "ticket",
            authprovider: "static",
            features: Features::default(),
        }
    }

    #[test]
    fn lists() {
        let who = who(5, "joe", "user");
        let check = |dict: Dict, expected: bool| {
            let filter = PublishOptions::from_dict(&dict).unwrap().filter;
            assert_eq!(filter.as_ref().is_none_or(|filter| filter.admits(&who)), expected, "{dict:?}");
            assert_eq!(filter.is_none_or(|filter| filter.sieve().admits(&who)), expected, "{dict:?}");
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

    /// Lists of all lengths, however they are ordered, sieve as they do one by one.
    #[test]
    fn long_lists_are_looked_up_in_their_order() {
        let everybody: Vec<Identity> =
            (1..=60).map(|n| who(n, &format!("joe{}", n % 7), &format!("role{}", n % 5))).collect();
        let check = |filter: &Filter, ready: bool| {
            let sieve = filter.sieve();
            assert_eq!(!matches!(sieve, Sieve::Sorted(_)), ready, "{filter:?}");
            for one in &everybody {
                assert_eq!(sieve.admits(one), filter.admits(one), "{one:?} {filter:?}");
            }
        };
        for length in [0, 1, 2, ENTRIES_FEW, ENTRIES_FEW + 1, 50] {
            // Every third or so, twice, from the end to the beginning.
            let numbers: Vec<usize> = (0..length).rev().map(|n| n / 2 * 3 + 2).collect();
            let ids: Vec<SessionId> = numbers.iter().map(|&n| SessionId::new(n as u64).unwrap()).collect();
            let texts = |start: &str| numbers.iter().map(|n| format!("{start}{n}")).collect::<Vec<_>>();
            let none = Filter::default;
            for filter in [
                Filter { exclude: ids.clone(), ..none() },
                Filter { eligible: Some(ids.clone()), ..none() },
                Filter { exclude_authid: texts("joe"), ..none() },
                Filter { eligible_authid: Some(texts("joe")), ..none() },
                Filter { exclude_authrole: texts("role"), ..none() },
                Filter { eligible_authrole: Some(texts("role")), ..none() },
            ] {
                check(&filter, length <= ENTRIES_FEW);
            }
            // What comes from options needs no sorting any more.
            let ids: Vec<Value> = numbers.iter().map(|&n| (n as u64).into()).collect();
            let names = |start: &str| Value::List(texts(start).into_iter().map(Value::from).collect());
            let options = Dict::new()
                .with("exclude", vec![Value::from(1)])
                .with("eligible", Value::List(ids))
                .with("exclude_authid", names("jo"))
                .with("eligible_authid", names("joe"))
                .with("exclude_authrole", names("rol"))
                .with("eligible_authrole", names("role"));
            check(&PublishOptions::from_dict(&options).unwrap().filter.unwrap(), true);
        }
    }
}
