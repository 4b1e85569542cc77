//! Traces whose calls begin with `at`: Java, .NET and JavaScript; and JavaScript's other kind, `function@location`.

use super::{Exception, Frame, base_name, header, lines, without_brackets, without_trailing_digits};

/// Ends of source files that are compiled to Java's byte code.
const JAVA_SOURCES: [&str; 6] = [".java", ".kt", ".scala", ".groovy", ".clj", ".kts"];

/// Beginnings of what belongs to the language or to a framework that calls the application.
const LIBRARIES: [&str; 32] = [
    "java.",
    "javax.",
    "jdk.",
    "jakarta.",
    "sun.",
    "com.sun.",
    "kotlin.",
    "kotlinx.",
    "scala.",
    "groovy.",
    "clojure.",
    "android.",
    "androidx.",
    "dalvik.",
    "org.springframework.",
    "org.apache.",
    "org.hibernate.",
    "org.eclipse.",
    "org.junit.",
    "org.jboss.",
    "org.aspectj.",
    "io.netty.",
    "io.undertow.",
    "io.micrometer.",
    "io.grpc.",
    "reactor.",
    "rx.",
    "com.zaxxer.",
    "com.fasterxml.",
    "com.google.common.",
    "System.",
    "Microsoft.",
];

pub(super) fn parse(text: &str) -> Vec<Exception> {
    let mut exceptions: Vec<Exception> = Vec::new();
    // What the last lines before the first call say, and whether it is plainly an exception.
    let mut candidate: Option<(Exception, bool)> = None;
    let (mut in_calls, mut suppressed) = (false, false);
    for line in lines(text) {
        let line = line.trim();
        if let Some(call) = call(line) {
            if !in_calls && (candidate.is_some() || exceptions.is_empty()) {
                exceptions.push(candidate.take().map(|(exception, _)| exception).unwrap_or_default());
            }
            in_calls = true;
            if let Some(exception) = exceptions.last_mut().filter(|_| !suppressed) {
                exception.frames.push(call);
            }
            continue;
        }
        if line.is_empty() || line.starts_with("...") {
            continue;
        }
        in_calls = false;
        let cause = ["Caused by: ", "[cause]: ", "caused by: "].iter().find_map(|begin| line.strip_prefix(begin));
        suppressed = line.starts_with("Suppressed: ");
        if suppressed {
            in_calls = true;
        } else if let Some((kind, message)) = header(without_thread(cause.unwrap_or(line))) {
            let plain = cause.is_some() || kind.contains('.') || ["Error", "Exception"].iter().any(|end| kind.ends_with(end));
            if plain || !candidate.as_ref().is_some_and(|(_, plain)| *plain) {
                candidate = Some((Exception::new(kind, message), plain));
            }
        }
    }
    exceptions
}

/// Returns whether some line is a call. Allocates nothing.
pub(super) fn is_one(text: &str) -> bool {
    let mut found = memchr::memmem::find_iter(text.as_bytes(), "at ");
    found.any(|at| {
        let start = text[..at].trim_end_matches([' ', '\t']);
        start.ends_with('\n') && start.len() < at && is_call(text[at..].lines().next().unwrap_or("").trim_end())
    })
}

/// Removes `Exception in thread "main"` and `Uncaught`.
fn without_thread(line: &str) -> &str {
    let rest = line.strip_prefix("Exception in thread \"").and_then(|rest| rest.split_once("\" "));
    rest.map_or(line, |(_, rest)| rest).trim_start_matches("Uncaught ").trim_start_matches("Unhandled exception. ")
}

/// Where a call says that it is.
enum Place<'a> {
    Java { name: &'a str },
    DotNet { name: &'a str },
    JavaScript { function: &'a str, location: &'a str },
}

pub(super) fn is_call(line: &str) -> bool {
    place(line).is_some()
}

fn place(line: &str) -> Option<Place<'_>> {
    let Some(rest) = line.strip_prefix("at ") else { return firefox(line) };
    if let Some((function, location)) = rest.split_once(" (") {
        // .NET writes blanks between parameters, not before them.
        let location = location.strip_suffix(')')?;
        let is_location = has_position(location)
            || matches!(location, "<anonymous>" | "native" | "native code")
            || location.starts_with("eval at ")
            || location.starts_with("index ");
        return is_location.then_some(Place::JavaScript { function, location });
    }
    if let Some((name, rest)) = rest.split_once('(') {
        let source = rest.split(')').next().unwrap_or("");
        let file = source.split(':').next().unwrap_or("");
        let is_java = matches!(source, "Native Method" | "Unknown Source" | "<generated>" | "Unknown Source:0")
            || JAVA_SOURCES.iter().any(|end| file.ends_with(end));
        let is_name = name.contains('.') && !name.contains(' ');
        return match (is_name && rest.contains(')'), is_java) {
            (true, true) => Some(Place::Java { name }),
            (true, false) if name.starts_with(char::is_uppercase) => Some(Place::DotNet { name }),
            _ => None,
        };
    }
    let location = rest.strip_prefix("async ").unwrap_or(rest);
    let is_location = has_position(location) || location == "<anonymous>";
    is_location.then_some(Place::JavaScript { function: "", location })
}

/// Reads `function@https://shop.example/app.js:10:5`.
fn firefox(line: &str) -> Option<Place<'_>> {
    let (function, location) = line.split_once('@')?;
    let is_one = has_position(location) && location.contains("//") && !function.contains(' ');
    is_one.then_some(Place::JavaScript { function, location })
}

/// Returns whether `location` ends in `:line:column`.
fn has_position(location: &str) -> bool {
    let mut parts = location.rsplitn(3, ':');
    let mut number = || parts.next().is_some_and(|part| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit()));
    number() && number() && parts.next().is_some_and(|rest| !rest.is_empty())
}

fn call(line: &str) -> Option<Frame> {
    Some(match place(line)? {
        Place::Java { name } => java(name),
        Place::DotNet { name } => {
            let name = without_brackets(&without_brackets(name, '[', ']'), '<', '>');
            let (class, method) = name.rsplit_once('.').unwrap_or(("", &name));
            Frame::new(class, method, !is_library(class))
        }
        Place::JavaScript { function, location } => javascript(function, location),
    })
}

fn is_library(class: &str) -> bool {
    LIBRARIES.iter().any(|library| class.starts_with(library))
}

/// Reads `java.base/java.lang.Thread.run` or `com.shop.Orders$1.lambda$run$0`.
pub(super) fn java(name: &str) -> Frame {
    let (class, method) = name.rsplit_once('.').unwrap_or(("", name));
    let generated = class.contains("$$FastClass")
        || class.contains("GeneratedMethodAccessor")
        || class.contains("GeneratedConstructorAccessor");
    // `Orders$$EnhancerBySpringCGLIB$$1a2b`, `Orders$$Lambda$14/0x0800`: what follows is made anew at each start.
    let class = class.split("$$").next().unwrap_or(class);
    // A class loader and a module, with a version, may stand in front.
    let class = class.rsplit('/').next().unwrap_or(class);
    let class: String = class.split('$').map(without_trailing_digits).collect::<Vec<_>>().join(".");
    let method =
        if method.starts_with("lambda$") || method.starts_with("access$") { without_trailing_digits(method) } else { method };
    Frame::new(class.trim_end_matches('.'), method.trim_end_matches('$'), !generated && !is_library(&class))
}

/// Reads a function, `new Cart`, `async Object.charge [as pay]`, and where it is.
pub(super) fn javascript(function: &str, location: &str) -> Frame {
    let mut function = function.split(" [as ").next().unwrap_or(function);
    for begin in
        ["async ", "async*", "new ", "get ", "set ", "Object.", "Module.", "Function.", "Window.", "global.", "exports.", "module."]
    {
        function = function.strip_prefix(begin).unwrap_or(function);
    }
    let function = function.replace("<anonymous>", "");
    let in_app = !(location.contains("node_modules/")
        || location.starts_with("node:")
        || location.starts_with("internal/")
        || location.contains("-extension://")
        || matches!(location, "<anonymous>" | "native" | "native code"));
    let path = without_position(location).split(['?', '#']).next().unwrap_or("");
    let base = base_name(path);
    let base = base.rsplit_once('.').map_or(base, |(base, _)| base);
    Frame::new(&without_hash(base), function.trim_matches(['.', '/', '<', '*']), in_app)
}

fn without_position(location: &str) -> &str {
    if has_position(location) { location.rsplitn(3, ':').nth(2).unwrap_or(location) } else { location }
}

/// Removes what a bundler put into the name of a file: `main.3f2a1b9c`, `index-BxY3z1aQ`.
fn without_hash(base: &str) -> String {
    let is_hash = |part: &str| {
        part.len() >= 6
            && part.bytes().any(|byte| byte.is_ascii_digit())
            && part.bytes().any(|byte| byte.is_ascii_alphabetic() || part.len() >= 8)
            && part.bytes().all(|byte| byte.is_ascii_alphanumeric())
    };
    let parts: Vec<&str> = base.split('.').filter(|part| !is_hash(part)).collect();
    let joined = parts.join(".");
    match joined.rsplit_once('-') {
        Some((name, hash)) if is_hash(hash) => name.to_owned(),
        _ => joined,
    }
}
