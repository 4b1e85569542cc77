use proptest::prelude::*;

use super::*;
use jiff::tz::TimeZone;

fn times() -> Times {
    Times::new(TimeZone::fixed(jiff::tz::offset(1)), "2026-11-23T00:10:00Z".parse().unwrap())
}

fn show(text: &str) -> String {
    let message = parse(text, &mut times());
    let mut shown = vec![
        message.priority.map(|number| number.to_string()).unwrap_or_default(),
        message.timestamp.map(|time| time.to_string()).unwrap_or_default(),
        message.host.unwrap_or_default().to_owned(),
        message.program.unwrap_or_default().to_owned(),
        message.process_id.unwrap_or_default().to_owned(),
        message.message_id.unwrap_or_default().to_owned(),
        message.text.to_owned(),
    ];
    shown.extend(message.sequence.map(|number| format!("#{number}")));
    shown.extend((!message.structured.is_empty()).then(|| message.structured.to_owned()));
    shown.extend(message.fault.map(|fault| format!("({fault})")));
    shown.join("|")
}

fn show_all(lines: &[&str]) -> String {
    lines.iter().map(|line| show(line)).collect::<Vec<_>>().join("\n")
}

#[test]
fn messages_of_rfc_5424_are_taken_apart() {
    // The first four are the examples of the RFC, section 6.5.
    insta::assert_snapshot!(show_all(&[
        "<34>1 2003-10-11T22:14:15.003Z mymachine.example.com su - ID47 - \u{feff}'su root' failed for lonvick on /dev/pts/8",
        "<165>1 2003-08-24T05:14:15.000003-07:00 192.0.2.1 myproc 8710 - - %% It's time to make the do-nuts.",
        "<165>1 2003-10-11T22:14:15.003Z mymachine.example.com evntslog - ID47 [exampleSDID@32473 iut=\"3\" eventSource=\"Application\" eventID=\"1011\"] \u{feff}An application event log entry...",
        "<165>1 2003-10-11T22:14:15.003Z mymachine.example.com evntslog - ID47 [exampleSDID@32473 iut=\"3\"][examplePriority@32473 class=\"high\"]",
        "<13>1 - - - - - -",
        "<13>1 - - - - - - ",
        "<0>1 2026-11-22T23:44:07 host app pid-7 - - no zone is meant in the configured one",
        "<191>1 2026-11-22T22:44:07Z host app 7 - [a b=\"c \\\"d\\\" \\] e\"] escaped",
        "<13>1 2026-11-22T22:44:07Z host app 7 - [only] an element without parameters",
        "<13>1 2026-11-22T22:44:07Z host app 7 - structured data left out",
        "<13>1 2026-11-22T22:44:07Z host app 7 - -- two hyphens are text",
        "<13>1 2026-11-22T22:44:07Z host app 7 - [a b=\"c] not closed",
        "<13>1 2026-11-22T22:44:07Z host app 7 - [a b=c] no quotes",
        "<13>1 2026-99-22T22:44:07Z host app 7 - - no such month",
        "<13>1 2026-11-22T22:44:07Z host app",
        "<13>2 2026-11-22T22:44:07Z host app 7 ID - a later version",
        "<13>1 2026-11-22T22:44:07Z host app 7 - - first line\n\tat second line",
    ]), @r#"
    34|2003-10-11T22:14:15.003Z|mymachine.example.com|su||ID47|'su root' failed for lonvick on /dev/pts/8
    165|2003-08-24T12:14:15.000003Z|192.0.2.1|myproc|8710||%% It's time to make the do-nuts.
    165|2003-10-11T22:14:15.003Z|mymachine.example.com|evntslog||ID47|An application event log entry...|[exampleSDID@32473 iut="3" eventSource="Application" eventID="1011"]
    165|2003-10-11T22:14:15.003Z|mymachine.example.com|evntslog||ID47||[exampleSDID@32473 iut="3"][examplePriority@32473 class="high"]
    13||||||
    13||||||
    0|2026-11-22T22:44:07Z|host|app|pid-7||no zone is meant in the configured one
    191|2026-11-22T22:44:07Z|host|app|7||escaped|[a b="c \"d\" \] e"]
    13|2026-11-22T22:44:07Z|host|app|7||an element without parameters|[only]
    13|2026-11-22T22:44:07Z|host|app|7||structured data left out
    13|2026-11-22T22:44:07Z|host|app|7||-- two hyphens are text
    13|2026-11-22T22:44:07Z|host|app|7||[a b="c] not closed|(its structured data are not well formed)
    13|2026-11-22T22:44:07Z|host|app|7||[a b=c] no quotes|(its structured data are not well formed)
    13||host|app|7||no such month|(its time is not one)
    13|2026-11-22T22:44:07Z|host|app|||
    13|2026-11-22T22:44:07Z|host|app|7|ID|a later version
    13|2026-11-22T22:44:07Z|host|app|7||first line
    	at second line
    "#);
}

#[test]
fn messages_of_rfc_3164_and_their_relatives_are_taken_apart() {
    insta::assert_snapshot!(show_all(&[
        "<34>Oct 11 22:14:15 mymachine su: 'su root' failed for lonvick on /dev/pts/8",
        "<13>Feb  5 17:32:18 10.0.0.99 Use the BFG!",
        "<30>Nov 22 23:44:07 web1 postfix/smtpd[77]: connect from unknown",
        "<30>2026-11-22T23:44:07.123456+01:00 web1 systemd[1]: Started as rsyslog forwards it.",
        "<142>Nov 22 23:44:07 haproxy[1234]: no host",
        "<14>Nov 22 23:44:07 web1 last message repeated 2 times",
        "<14>Nov 22 23:44:07 fe80::1 kernel: [   12.5] usb 1-1: new device",
        "<14>Nov 22 23:44:07 web1/relay app: chained hosts",
        "<14>a message of Python's handler, which sends nothing else",
        "<14>myapp: with an ident",
        "<14>myapp[7]:with no blank",
        "<11>ERROR: not a program",
        "<14>http://example.com/ is not a tag",
        "<14>date=2026-11-22 time=23:44:07 devname=\"fw\" type=traffic",
        "<189>45: *Nov 22 22:44:07.123 UTC: %SYS-5-CONFIG_I: Configured from console",
        "<189>45: router1: 000123: Nov 22 23:44:07.123 CET: %LINK-3-UPDOWN: Interface up",
        "<189>45: %SYS-5-RESTART: no time",
        "<166>Nov 22 2026 23:44:07: %ASA-6-302013: Built outbound TCP connection",
        "<166>Nov 22 2026 23:44:07 fw1 : %ASA-6-302013: Built outbound TCP connection",
        "<166>Nov 22 23:44:07 fw1 %FTD-6-430003: no colon",
        "<134>1 1795392600.5 mx64 flows src=10.0.0.1",
        "<14>404: not found",
        "<14>",
        "<14>Nov 22 23:44:07",
        "Nov 22 23:44:07 web1 app[7]: no priority",
        "2026-11-22T22:44:07Z web1 app: no priority either",
        "2026-11-22T22:44:07Z INFO starting: up",
        "2026-11-22T22:44:07Z something happened",
        "just text",
        "<999>no such priority",
        "<13 broken",
        "<html>",
        "",
    ]), @r#"
    34|2026-10-11T21:14:15Z|mymachine|su|||'su root' failed for lonvick on /dev/pts/8
    13|2026-02-05T16:32:18Z|10.0.0.99||||Use the BFG!
    30|2026-11-22T22:44:07Z|web1|postfix/smtpd|77||connect from unknown
    30|2026-11-22T22:44:07.123456Z|web1|systemd|1||Started as rsyslog forwards it.
    142|2026-11-22T22:44:07Z||haproxy|1234||no host
    14|2026-11-22T22:44:07Z|web1||||last message repeated 2 times
    14|2026-11-22T22:44:07Z|fe80::1|kernel|||[   12.5] usb 1-1: new device
    14|2026-11-22T22:44:07Z|web1/relay|app|||chained hosts
    14||||||a message of Python's handler, which sends nothing else
    14|||myapp|||with an ident
    14||||||myapp[7]:with no blank
    11||||||ERROR: not a program
    14||||||http://example.com/ is not a tag
    14||||||date=2026-11-22 time=23:44:07 devname="fw" type=traffic
    189|2026-11-22T22:44:07.123Z||SYS||SYS-5-CONFIG_I|%SYS-5-CONFIG_I: Configured from console|#45
    189|2026-11-22T22:44:07.123Z|router1|LINK||LINK-3-UPDOWN|%LINK-3-UPDOWN: Interface up|#123
    189|||SYS||SYS-5-RESTART|%SYS-5-RESTART: no time|#45
    166|2026-11-22T22:44:07Z||ASA||ASA-6-302013|%ASA-6-302013: Built outbound TCP connection
    166|2026-11-22T22:44:07Z|fw1|ASA||ASA-6-302013|%ASA-6-302013: Built outbound TCP connection
    166|2026-11-22T22:44:07Z|fw1|FTD||FTD-6-430003|%FTD-6-430003: no colon
    134|2026-11-23T00:10:00.5Z|mx64||||flows src=10.0.0.1
    14||||||404: not found
    14||||||
    14|2026-11-22T22:44:07Z|||||
    |2026-11-22T22:44:07Z|web1|app|7||no priority
    |2026-11-22T22:44:07Z|web1|app|||no priority either
    |2026-11-22T22:44:07Z|||||INFO starting: up
    |2026-11-22T22:44:07Z|||||something happened
    ||||||just text|(it begins with neither a priority nor a time)
    ||||||<999>no such priority|(its priority is not a number from 0 to 191)
    ||||||<13 broken|(it begins with neither a priority nor a time)
    ||||||<html>|(it begins with neither a priority nor a time)
    |||||||(it begins with neither a priority nor a time)
    "#);
}

#[test]
fn parameters_are_unescaped() {
    let mut seen = Vec::new();
    parameters(r#"[a b="c \"d\" \\ \] \n" e=""][only][x@1 y="é"]"#, &mut |id, parameter| {
        seen.push(parameter.map_or_else(|| id.to_owned(), |(name, value)| format!("{id}.{name}={value}")));
    });
    assert_eq!(seen, [r#"a.b=c "d" \ ] \n"#, "a.e=", "only", "x@1.y=é"]);
}

proptest! {
    #[test]
    fn what_is_written_by_the_grammar_reads_back(
        priority in 0_u8..192,
        fields in proptest::collection::vec("[!-~]{1,20}".prop_filter("not nil", |field| field != "-"), 4),
        elements in proptest::collection::vec(("[a-z@0-9]{1,9}", proptest::collection::vec(("[a-zA-Z]{1,5}", "\\PC{0,12}"), 0..4)), 0..4),
        text in "\\PC{0,40}",
    ) {
        let escape = |value: &str| value.replace('\\', "\\\\").replace('"', "\\\"").replace(']', "\\]");
        let mut structured = String::new();
        let mut expected = Vec::new();
        for (id, parameters) in &elements {
            structured.extend(["[", id]);
            for (name, value) in parameters {
                structured.extend([" ", name, "=\"", &escape(value), "\""]);
                expected.push((id.clone(), Some((name.clone(), value.clone()))));
            }
            if parameters.is_empty() {
                expected.push((id.clone(), None));
            }
            structured += "]";
        }
        let data = if structured.is_empty() { "-" } else { &structured };
        let line = format!("<{priority}>1 2026-11-22T22:44:07.5Z {} {data} {text}", fields.join(" "));
        let message = parse(&line, &mut times());
        prop_assert_eq!(message.fault, None);
        prop_assert_eq!(message.priority, Some(priority));
        prop_assert_eq!(message.timestamp.unwrap().to_string(), "2026-11-22T22:44:07.5Z");
        let read = [message.host, message.program, message.process_id, message.message_id];
        prop_assert_eq!(read.map(Option::unwrap).to_vec(), fields);
        prop_assert_eq!(message.structured, structured);
        prop_assert_eq!(message.text, text.strip_prefix('\u{feff}').unwrap_or(&text));
        let mut read = Vec::new();
        parameters(message.structured, &mut |id, parameter| {
            read.push((id.to_owned(), parameter.map(|(name, value)| (name.to_owned(), value.into_owned()))));
        });
        prop_assert_eq!(read, expected);
    }

    #[test]
    fn of_any_message_the_text_is_the_end(
        text in "(<[0-9]{1,4}>)?(1 )?([A-Z][a-z]{2} [ 0-9]{2} [0-9]{2}:[0-9]{2}:[0-9]{2}[ :]|[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9:]{8}[.,Z+]?[0-9]{0,6} )?([a-zé%0-9-]{0,9}[ :\\[\\]]){0,6}\\PC{0,30}"
    ) {
        let message = parse(&text, &mut times());
        prop_assert!(text.ends_with(message.text));
        parameters(message.structured, &mut |_, _| {});
    }
}
