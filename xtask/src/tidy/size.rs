//! How long a file and a function may be.

use super::source::{identifier, item_end, line_of, mask, without_tests, words};
use super::{File, check, none, tree};

/// Lines of a file without its tests. Beyond this nobody reads it top down any more.
const FILE_LINES_MAX: usize = 800;

/// Lines of a function from `fn` to its closing brace: what fits on a screen.
const FUNCTION_LINES_MAX: usize = 70;

/// Files that may be longer, each with its reason: tables, that is.
const FILE_EXCEPTIONS: &[(&str, &str)] = &[(
    "crates/server/web/wamp.js",
    "a page takes the client as one file that works without a build step, and most of it is a table of the interface",
)];

/// Functions (`path::name`) that may be longer, each with its reason.
const FUNCTION_EXCEPTIONS: &[(&str, &str)] = &[];

const LANGUAGES: &[&str] = &[".rs", ".py", ".js", ".mjs", ".css", ".html", ".sh"];

/// Rust files that are nothing but tests have no budget: their size is that of what they test.
fn is_test(path: &str) -> bool {
    path.contains("/tests/") || path.ends_with("/tests.rs")
}

fn files(tree: &[File]) -> Vec<String> {
    let mut faults = Vec::new();
    for file in tree.iter().filter(|file| LANGUAGES.iter().any(|end| file.path.ends_with(end)) && !is_test(&file.path))
    {
        let lines = if file.is_rust() { own_lines(&file.text) } else { file.text.lines().count() };
        if lines > FILE_LINES_MAX && !FILE_EXCEPTIONS.iter().any(|(path, _)| *path == file.path) {
            faults.push(format!("{}: {lines} lines without tests, {FILE_LINES_MAX} are the most", file.path));
        }
    }
    faults
}

/// Lines outside of `#[cfg(test)]`. Blanked lines are told from empty ones by comparing with the masked text.
fn own_lines(source: &str) -> usize {
    let masked = mask(source);
    let code = without_tests(&masked);
    let mut from = 0;
    let mut tests = 0;
    while let Some(found) = masked[from..].find("#[cfg(test)]") {
        let start = from + found;
        let end = item_end(&masked, start);
        tests += masked[start..end].matches('\n').count() + 1;
        from = end;
    }
    code.lines().count().saturating_sub(tests)
}

fn functions(tree: &[File]) -> Vec<String> {
    let mut faults = Vec::new();
    for file in tree.iter().filter(|file| file.is_rust() && !is_test(&file.path)) {
        let code = without_tests(&mask(&file.text));
        for at in words(&code, "fn") {
            let name = identifier(&code[at..]);
            // `fn(u8) -> u8` is a type.
            if name.is_empty() {
                continue;
            }
            let lines = code[at..item_end(&code, at)].matches('\n').count() + 1;
            let path = format!("{}::{name}", file.path);
            if lines > FUNCTION_LINES_MAX && !FUNCTION_EXCEPTIONS.iter().any(|(exception, _)| *exception == path) {
                let line = line_of(&code, at);
                faults.push(format!("{path} (line {line}): {lines} lines, {FUNCTION_LINES_MAX} are the most"));
            }
        }
    }
    faults
}

#[test]
fn files_are_short() {
    none(&files(&tree()));
}

#[test]
fn functions_are_short() {
    none(&functions(&tree()));
}

#[test]
fn long_files_are_found() {
    let body = |lines: usize| "//\n".repeat(lines);
    check(files, "crates/a/src/b.rs", &body(800), &[]);
    check(files, "crates/a/src/b.rs", &body(801), &["801 lines"]);
    check(files, "crates/a/tests/b.rs", &body(801), &[]);
    check(files, "README.md", &body(801), &[]);
    check(files, "crates/a/src/b.rs", &format!("{}#[cfg(test)]\nmod tests {{\n{}}}\n", body(790), body(50)), &[]);
}

#[test]
fn long_functions_are_found() {
    let function = |lines: usize| format!("fn long() {{\n{}}}\n", "a;\n".repeat(lines - 2));
    check(functions, "crates/a/src/b.rs", &function(70), &[]);
    check(functions, "crates/a/src/b.rs", &function(71), &["::long (line 1): 71 lines"]);
    check(functions, "crates/a/src/b.rs", &format!("#[cfg(test)]\nmod tests {{ {} }}", function(71)), &[]);
    check(functions, "crates/a/src/b.rs", &format!("type F = fn(u8);\n{}", function(70)), &[]);
}
