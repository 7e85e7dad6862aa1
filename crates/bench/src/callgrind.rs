//! Reads what valgrind's callgrind has counted, and adds it up by stage.
//!
//! Knows the form of the file (the manual of callgrind, "Format Specification"). A line of cost belongs to the source file
//! that the compiler took it from, inlined or not, which is why the server needs line tables. Code of the standard library and of
//! the C library belongs to whoever calls it, in proportion to what each caller causes there, and where it is inlined to
//! the source before it.

use std::collections::HashMap;

/// How often cost is handed from callee to caller at the most; no chain of library functions is longer.
const HANDS_MAX: usize = 64;

/// Cost by stage.
pub(crate) type Bill = HashMap<&'static str, f64>;

/// Whose account a source file is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Account {
    /// A stage of ours.
    Stage(&'static str),
    /// Whoever calls it.
    Caller,
}

/// What one function did itself, and who calls it with what cost.
#[derive(Debug, Default)]
struct Function {
    own: Bill,
    /// Cost of library code in a function that is nobody's.
    open: f64,
    callers: Vec<Caller>,
}

#[derive(Debug)]
struct Caller {
    function: String,
    stage: Option<&'static str>,
    cost: f64,
}

/// Where the reader stands in the file.
#[derive(Debug)]
struct Reader<'t> {
    names: HashMap<(&'t str, &'t str), &'t str>,
    function: String,
    callee: String,
    stage: Option<&'static str>,
    /// The next line of cost is that of a call, and counted in the callee already.
    is_call: bool,
}

/// Adds up one file. `account` judges a source file and the function that stands in it.
pub(crate) fn bill(text: &str, account: impl Fn(&str, &str) -> Account) -> Bill {
    let mut functions: HashMap<String, Function> = HashMap::new();
    let mut reader =
        Reader { names: HashMap::new(), function: String::new(), callee: String::new(), stage: None, is_call: false };
    for line in text.lines() {
        reader.line(line, &account, &mut functions);
    }
    settle(functions)
}

impl<'t> Reader<'t> {
    fn line(
        &mut self,
        line: &'t str,
        account: &impl Fn(&str, &str) -> Account,
        functions: &mut HashMap<String, Function>,
    ) {
        if let Some((key, value)) = line.split_once('=') {
            match key {
                "fl" | "fi" | "fe" => self.file(key, value, account),
                "fn" => {
                    self.function = self.name("fn", value).to_owned();
                    // A C library without line tables is known by its functions.
                    if let Account::Stage(stage) = account("", &self.function) {
                        self.stage = Some(stage);
                    }
                }
                "cfn" => self.callee = self.name("fn", value).to_owned(),
                "cfi" | "cfl" => drop(self.name("fl", value)),
                "calls" => self.is_call = true,
                _ => {}
            }
            return;
        }
        if !line.starts_with(|first: char| first.is_ascii_digit() || "+-*".contains(first)) {
            return;
        }
        let Some(cost) = line.split_whitespace().nth(1).and_then(|cost| cost.parse::<f64>().ok()) else { return };
        if std::mem::take(&mut self.is_call) {
            let caller = Caller { function: self.function.clone(), stage: self.stage, cost };
            functions.entry(self.callee.clone()).or_default().callers.push(caller);
        } else {
            let function = functions.entry(self.function.clone()).or_default();
            match self.stage {
                Some(stage) => *function.own.entry(stage).or_default() += cost,
                None => function.open += cost,
            }
        }
    }

    fn file(&mut self, key: &str, value: &'t str, account: &impl Fn(&str, &str) -> Account) {
        let file = self.name("fl", value);
        match account(file, "") {
            Account::Stage(stage) => self.stage = Some(stage),
            Account::Caller if key == "fl" => self.stage = None,
            Account::Caller => {}
        }
    }

    /// A name is written once behind its number, and later the number stands for it.
    fn name(&mut self, kind: &'t str, value: &'t str) -> &'t str {
        let Some((number, name)) = value.split_once(')') else { return value };
        let name = name.trim_start();
        if name.is_empty() {
            return self.names.get(&(kind, number)).copied().unwrap_or_default();
        }
        self.names.insert((kind, number), name);
        name
    }
}

/// Hands what is open from callee to caller until it stands on a stage.
fn settle(mut functions: HashMap<String, Function>) -> Bill {
    let mut bill = Bill::new();
    for function in functions.values() {
        function.own.iter().for_each(|(&stage, cost)| *bill.entry(stage).or_default() += cost);
    }
    for _ in 0..HANDS_MAX {
        let mut handed: HashMap<String, f64> = HashMap::new();
        for (name, function) in &mut functions {
            let open = std::mem::take(&mut function.open);
            let total: f64 = function.callers.iter().map(|caller| caller.cost).sum();
            if open == 0.0 {
                continue;
            }
            if total == 0.0 || function.callers.iter().all(|caller| caller.function == *name) {
                *bill.entry("other").or_default() += open;
                continue;
            }
            for caller in &function.callers {
                let share = open * caller.cost / total;
                match caller.stage {
                    Some(stage) => *bill.entry(stage).or_default() += share,
                    None => *handed.entry(caller.function.clone()).or_default() += share,
                }
            }
        }
        if handed.is_empty() {
            break;
        }
        for (name, cost) in handed {
            functions.entry(name).or_default().open += cost;
        }
    }
    let rest: f64 = functions.values().map(|function| function.open).sum();
    *bill.entry("other").or_default() += rest;
    bill
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account(file: &str, function: &str) -> Account {
        match (file, function) {
            ("ours.rs", _) => Account::Stage("ours"),
            ("theirs.rs", _) => Account::Stage("theirs"),
            (_, "malloc") => Account::Stage("allocator"),
            _ => Account::Caller,
        }
    }

    #[test]
    fn cost_finds_its_stage() {
        let text = "events: Ir\n\
            fl=(1) ours.rs\nfn=(1) publish\n10 100\nfi=(2) core.rs\n11 5\nfe=(1)\n12 20\n\
            cfi=(3) ???\ncfn=(2) memcpy\ncalls=2 0\n12 30\ncfn=(3) malloc\ncalls=1 0\n12 7\n\
            \nfl=(4) theirs.rs\nfn=(4) parse\n1 50\ncfi=(3)\ncfn=(2)\ncalls=1 0\n2 10\n\
            \nfl=(3)\nfn=(2)\n0 40\n\nfl=(3)\nfn=(3)\n0 7\n";
        let bill = bill(text, account);
        assert_eq!(bill["ours"], 155.0);
        assert_eq!(bill["theirs"], 60.0);
        assert_eq!(bill["allocator"], 7.0);
        assert_eq!(bill["other"], 0.0);
    }

    #[test]
    fn what_nobody_calls_is_other() {
        assert_eq!(bill("fl=(1) ???\nfn=(1) clone\n0 3\n", account)["other"], 3.0);
    }
}
