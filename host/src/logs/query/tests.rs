//! Laws of the language: what is printed reads back equal, and a compiled condition means what its words say.

mod engine;
mod naive;

use std::time::Duration;

use jiff::tz::TimeZone;
use proptest::prelude::*;
use watchfire_types::{LogBatch, Timestamp};

use super::ast::{Aggregate, Bound, BoundTest, Expr, Function, Key, Moment, Order, Pipe, Place, Query, SortKey, Test};
use super::bits::Bits;
use super::field::Field;
use super::node::{Meaning, Node, Verdict};
use crate::logs::block::probe::Probe;
use crate::logs::block::{self, Columns, Wants};
use crate::logs::matcher::BlockOutline;
use crate::logs::tokens::TokenFilter;

fn parse(text: &str) -> Query {
    Query::parse(text).unwrap_or_else(|error| panic!("{error}"))
}

fn printed(text: &str) -> String {
    parse(text).to_string()
}

fn refused(text: &str) -> String {
    Query::parse(text).map_or_else(|error| error.to_string(), |query| panic!("{query} was read"))
}

#[test]
fn words_and_phrases_mean_what_they_always_meant() {
    for (text, as_printed) in [
        ("", "*"),
        ("connection  Timeout", "connection Timeout"),
        ("begin* \"a  b\" 10.0.0.7:80", "begin* \"a  b\" \"10.0.0.7:80\""),
        ("error: it broke std::fmt https://example.com/a?b=c", "\"error:\" it broke \"std::fmt\" \"https://example.com/a?b=c\""),
        ("user=bob main() a->b --force -", "\"user=bob\" \"main()\" \"a->b\" \"--force\" \"-\""),
        ("/api/products /var/log /tmp/x", "\"/api/products\" \"/var/log\" \"/tmp/x\""),
        ("or and not don't", "or and not \"don't\""),
        ("处理 straße", "处理 straße"),
        (r#""a \"quote\" and C:\temp \\ end""#, r#""a \"quote\" and C:\\temp \\ end""#),
    ] {
        assert_eq!(printed(text), as_printed, "{text}");
    }
}

#[test]
fn conditions_are_read_in_the_usual_ways() {
    for (text, as_printed) in [
        ("level>=warn service:api", "level>=warn service:api"),
        ("level:error level:17 level!=debug level > info", "level:error level:17 NOT level:debug level>=warn"),
        ("severity<=warning level:critical", "level<=16 level>=fatal"),
        ("http.status:500 user:\"a b\" key:* path:/api/*", "http.status:500 user:\"a b\" key:* path:/api/*"),
        ("duration>250 duration:>=1.5 \"odd key\"<-3", "duration>250 duration>=1.5 \"odd key\"<-3"),
        ("app.kubernetes.io/name:web", "app.kubernetes.io/name:web"),
        ("level:(error OR fatal) -service:(a, \"b c\")", "(level:error OR level>=fatal) NOT (service:a OR service:\"b c\")"),
        ("NOT a OR !b AND -(c d)", "NOT a OR NOT b NOT (c d)"),
        ("((a)) (b OR (c OR d))", "a (b OR c OR d)"),
        (
            r#"/time ?out \/api\// body~"^GET /" host.name~web[0-9]+ body:started"#,
            r#"/time ?out \/api\// body~"^GET /" host.name~"web[0-9]+" body:"started""#,
        ),
        ("/refused/i", "/(?i)refused/"),
        ("pattern:42 seq>100 trace_id:ABCDEF", "pattern:42 seq>100 trace_id:abcdef"),
        ("since:15m until:2026-11-22T10:00", "since:15m until:2026-11-22T10:00:00"),
        ("since:yesterday until:today timestamp>=2026-11-22T08:30:00Z", "since:yesterday until:today since:2026-11-22T08:30:00Z"),
        ("* AND a", "a"),
    ] {
        assert_eq!(printed(text), as_printed, "{text}");
    }
}

#[test]
fn pipes_are_read_in_the_usual_ways() {
    for (text, as_printed) in [
        ("level:error | stats count by level, service", "level:error | stats count by level, service"),
        (
            "| stats count() as n, p99(duration), p99.9(d), count_distinct(user.id) by time(5m)",
            "| stats count as n, p99(duration), p99.9(d), count_distinct(user.id) by time(5m)",
        ),
        ("a|stats by service|sort -count|limit 5", "a | stats count by service | sort -count | limit 5"),
        ("* | top service", "| top 10 service"),
        ("| top 3 by service, host.name", "| top 3 service, host.name"),
        ("| fields timestamp, body, \"odd, key\"", "| fields timestamp, body, \"odd, key\""),
        ("| sort by duration desc, service", "| sort -duration, service"),
        ("| uniq by user.id | head 3", "| uniq user.id | limit 3"),
        ("| stats p99(d) by s | where p99(d) > 10 AND s:\"a b\"", "| stats p99(d) by s | where p99(d)>10 AND s:\"a b\""),
    ] {
        assert_eq!(printed(text), as_printed, "{text}");
    }
}

#[test]
fn an_error_says_where_and_what_to_do() {
    insta::assert_snapshot!(refused("level>=wran service:api"), @r"
    `wran` is no level; did you mean `warn`? (character 8)
      level>=wran service:api
             ^^^^
    ");
    insta::assert_snapshot!(refused("a (b OR c"), @r"
    this bracket is never closed: write `)`, or quote text that has it (character 3)
      a (b OR c
        ^
    ");
    insta::assert_snapshot!(refused("处理 \"abc"), @r#"
    this quote is never closed: write `"` after the phrase, or `\"` for a quote within one (character 4)
      处理 "abc
         ^
    "#);
    insta::assert_snapshot!(refused("a | stat count"), @r"
    `stat` is no pipe; did you mean `stats`? (quote text that has a `|`) (character 5)
      a | stat count
          ^^^^
    ");
    insta::assert_snapshot!(refused("| stats avg"), @r"
    `avg` of what? Write `avg(field)` (character 9)
      | stats avg
              ^^^
    ");
    insta::assert_snapshot!(refused("a OR"), @r#"
    expected a word, a "phrase" or a condition such as `level>=warn`, but the query ends (character 5)
      a OR
          ^
    "#);
    insta::assert_snapshot!(refused("since:soon"), @r"
    `soon` is no time: write `since:15m`, `since:today`, `since:yesterday`, `since:2026-11-22` or `since:2026-11-22T10:00` (character 7)
      since:soon
            ^^^^
    ");
    for text in [
        "a)",
        "()",
        "a AND",
        "OR b",
        "NOT",
        "level>=",
        "duration>",
        "level>fatal",
        "path:/api/*/x",
        "*end",
        "/a(/",
        "pattern:x",
        "level~e",
        "key>a*",
        "body>1",
        "a | ",
        "| limit",
        "| limit x",
        "| sort",
        "| stats sum",
        "| stats count by time",
        "| stats count by time(x)",
        "| stats count, count",
        "| top 0 a",
        "| fields",
        "| where",
        "| where a",
        "| where a>",
        "a | b | c",
        "level:(error",
        "level:()",
        "x:(a b)",
    ] {
        let message = refused(text);
        assert!(message.contains("(character "), "{text}: {message}");
    }
    assert_eq!(refused(&"a".repeat(5000)).lines().next(), Some("a query has at most 4096 bytes, this one has 5000 (character 1)"));
}

#[test]
fn depth_is_bounded() {
    for text in ["(".repeat(4000), "NOT ".repeat(1000), "-(".repeat(2000), "a:(".repeat(1000)] {
        refused(&text);
    }
    let nested = format!("{}a{}", "(".repeat(64), ")".repeat(64));
    assert_eq!(printed(&nested), "a");
}

#[test]
fn times_are_those_of_the_asker() {
    let now: Timestamp = "2026-11-22T00:30:00Z".parse().unwrap();
    let berlin = TimeZone::fixed(jiff::tz::offset(1));
    let at = |text: &str, zone: &TimeZone| match parse(text).filter {
        Expr::Since(moment) => moment.resolve(now, zone).to_string(),
        other => panic!("{other}"),
    };
    assert_eq!(at("since:today", &TimeZone::UTC), "2026-11-22T00:00:00Z");
    assert_eq!(at("since:today", &berlin), "2026-11-21T23:00:00Z");
    assert_eq!(at("since:yesterday", &berlin), "2026-11-20T23:00:00Z");
    assert_eq!(at("since:2026-11-22T10:00", &berlin), "2026-11-22T09:00:00Z");
    assert_eq!(at("since:2026-11-22", &TimeZone::UTC), "2026-11-22T00:00:00Z");
    assert_eq!(at("since:\"2026-11-22 10:00\"", &TimeZone::UTC), "2026-11-22T10:00:00Z");
    assert_eq!(at("since:2026-11-22T10:00:00+01:00", &TimeZone::UTC), "2026-11-22T09:00:00Z");
    assert_eq!(at("since:1795391047", &berlin), Timestamp::from_seconds(1_795_391_047).to_string());
    assert_eq!(at("since:1h30m", &berlin), "2026-11-21T23:00:00Z");
}

fn text() -> impl Strategy<Value = String> {
    "[a-c*\"\\\\/(:| )>.~!0-9é处-]{0,6}[a-cX_0-9]"
}

fn regex_text() -> impl Strategy<Value = String> {
    prop_oneof!["[a-c0-9 \"/.]{1,5}", Just("a(b|c)+".to_owned()), Just("\\d+ \\\\ms".to_owned()), Just("(?i)a b".to_owned())]
}

fn field() -> impl Strategy<Value = Field> {
    prop_oneof![
        "[a-c]",
        "[a-z]{1,3}[.-][a-z]",
        "[a-c \"|),]{0,3}x",
        Just("service".to_owned()),
        Just("scope".to_owned()),
        Just("trace_id".to_owned())
    ]
    .prop_map(|name| Field::from_name(&name))
}

fn moment() -> impl Strategy<Value = Moment> {
    prop_oneof![
        (1..1_000_000_u64).prop_map(|millis| Moment::Ago(Duration::from_millis(millis))),
        (0..4_000_000_000_u64).prop_map(|seconds| Moment::At(Timestamp::from_seconds(seconds))),
        (0..60_i8, 0..24_i8).prop_map(|(minute, hour)| Moment::Local(jiff::civil::date(2026, 11, 22).at(hour, minute, 5, 0))),
        prop_oneof![Just(Moment::Now), Just(Moment::Today), Just(Moment::Yesterday)],
    ]
}

fn order() -> impl Strategy<Value = Order> {
    prop_oneof![Just(Order::Below), Just(Order::AtMost), Just(Order::Above), Just(Order::AtLeast)]
}

fn place() -> impl Strategy<Value = Place> {
    prop_oneof![Just(Place::Anywhere), Just(Place::Body)]
}

fn test() -> impl Strategy<Value = Test> {
    prop_oneof![
        text().prop_map(|text| Test::Is(text.to_lowercase())),
        Just(Test::Is(String::new())),
        text().prop_map(|text| Test::Begins(text.to_lowercase())),
        Just(Test::Present),
        (order(), "-?[0-9]{1,3}(\\.5)?|[a-c]{1,3}").prop_map(|(order, text)| Test::Compare(order, text)),
        regex_text().prop_map(Test::Matches),
    ]
}

fn level() -> impl Strategy<Value = Expr> {
    prop_oneof![
        (0..25_u8).prop_map(|least| Expr::Level { least, most: u8::MAX }),
        (0..25_u8).prop_map(|most| Expr::Level { least: 0, most }),
        (0..25_u8).prop_map(|number| Expr::Level { least: number, most: number }),
        (0..5_u8).prop_map(|range| Expr::Level { least: range * 4 + 1, most: range * 4 + 4 }),
    ]
}

fn expr() -> impl Strategy<Value = Expr> {
    let leaf = prop_oneof![
        Just(Expr::All),
        (place(), text(), any::<bool>()).prop_map(|(place, text, prefix)| Expr::Text { place, text, prefix }),
        (place(), regex_text()).prop_map(|(place, regex)| Expr::Pattern { place, regex }),
        (field(), test()).prop_map(|(field, test)| Expr::Field { field, test }),
        level(),
        moment().prop_map(Expr::Since),
        moment().prop_map(Expr::Until),
        (0..50_u64).prop_map(|id| Expr::Field { field: Field::Pattern, test: Test::Is(id.to_string()) }),
        (order(), 0..50_u64)
            .prop_map(|(order, seq)| Expr::Field { field: Field::Seq, test: Test::Compare(order, seq.to_string()) }),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 1..4).prop_map(Expr::and),
            proptest::collection::vec(inner.clone(), 1..4).prop_map(Expr::or),
            inner.prop_map(Expr::negated),
        ]
    })
}

fn column() -> impl Strategy<Value = String> {
    prop_oneof!["[a-c]{1,3}", "p9[0-9]\\([a-c]{1,2}\\)", "[a-c ,|()\"]{1,4}x"]
}

fn pipe() -> impl Strategy<Value = Pipe> {
    let fields = || proptest::collection::vec(field(), 1..4);
    let function = prop_oneof![
        Just(Function::Count),
        Just(Function::CountDistinct),
        Just(Function::Sum),
        Just(Function::Avg),
        Just(Function::Min),
        Just(Function::Max),
        (0..=1000_u16).prop_map(Function::Percentile),
    ];
    let key =
        prop_oneof![field().prop_map(Key::Field), (1..1_000_000_u64).prop_map(|millis| Key::Time(Duration::from_millis(millis))),];
    prop_oneof![
        (function, field(), proptest::collection::vec(key, 0..2), "[a-c]{0,2}").prop_map(|(function, field, by, name)| {
            Pipe::Stats {
                columns: vec![Aggregate { function, field: Some(field), name: (!name.is_empty()).then(|| format!("n{name}")) }],
                by,
            }
        }),
        (1..99_u64, fields()).prop_map(|(count, by)| Pipe::Top { count, by }),
        fields().prop_map(|by| Pipe::Uniq { by }),
        fields().prop_map(Pipe::Fields),
        proptest::collection::vec((column(), any::<bool>()).prop_map(|(name, descending)| SortKey { name, descending }), 1..3)
            .prop_map(Pipe::Sort),
        (0..1_000_u64).prop_map(Pipe::Limit),
        (column(), prop_oneof![Just(BoundTest::Is), Just(BoundTest::IsNot), order().prop_map(BoundTest::Order)], text())
            .prop_map(|(name, test, value)| Pipe::Where(vec![Bound { name, test, value }])),
    ]
}

fn query() -> impl Strategy<Value = Query> {
    (expr(), proptest::collection::vec(pipe(), 0..3)).prop_map(|(filter, pipes)| Query { filter, pipes })
}

proptest! {
    #[test]
    fn what_is_printed_reads_back_equal(query in query()) {
        let text = query.to_string();
        match Query::parse(&text) {
            Ok(again) => prop_assert_eq!(again, query, "{}", text),
            Err(error) => prop_assert!(text.len() > 4096, "{}", error),
        }
    }

    #[test]
    fn any_text_is_read_or_refused_and_reads_back(text in "[ab(): |\"/*<>=!~.,0-9-]{0,24}|(NOT |AND |OR |level|>=|:|a|\\(|\\)|\\| ?|stats |by |count|sort |, |top |\\*|\"|/|since:|1h ){0,12}") {
        if let Ok(query) = Query::parse(&text) {
            let again = query.to_string();
            prop_assert_eq!(Query::parse(&again), Ok(query), "{}", again);
        }
    }

    #[test]
    fn a_compiled_condition_means_what_its_words_say(batch in crate::logs::block::tests::batches(), expr in expr()) {
        let mut batch = batch;
        batch.seq = (1..=batch.len() as u64).collect();
        let meaning = Meaning { now: Timestamp::from_seconds(1_000_000), zone: &TimeZone::UTC, patterns: &|id| vec![id, id + 1] };
        let node = Node::new(&expr, &meaning);
        let expected: Vec<usize> = (0..batch.len()).filter(|row| naive::matches(&expr, &batch, *row, &meaning)).collect();
        prop_assert_eq!(node.rows(&batch, &Bits::all(batch.len())).iter().collect::<Vec<_>>(), expected.clone(), "{}", expr);
        prop_assert_eq!((0..batch.len()).filter(|row| node.matches(&batch, *row)).collect::<Vec<_>>(), expected.clone(), "{}", expr);
        prop_assert!(expected.is_empty() || node.may_contain(&TokenFilter::build(&batch)), "{}", expr);
        let block = block::pack(&batch, 1);
        if Probe::fits(&block) {
            let head = block::decode(&block, 1, Columns::HEAD).unwrap();
            let candidates = node.candidates(&mut Probe::new(&block, &head).unwrap(), usize::MAX).unwrap();
            prop_assert!(candidates.is_none_or(|rows| expected.iter().all(|row| rows.has(*row))), "{}", expr);
        }
        let wants = Wants { columns: node.columns(), keys: node.keys() };
        let read = block::decode_wanted(&block, 1, &wants).unwrap();
        prop_assert_eq!(node.rows(&read, &Bits::all(read.len())).iter().collect::<Vec<_>>(), expected.clone(), "{}", expr);
        let verdict = node.verdict(&outline(&batch, &services(&batch)));
        prop_assert!(verdict != Verdict::Never || expected.is_empty(), "{}", expr);
        prop_assert!(verdict != Verdict::Always || expected.len() == batch.len(), "{}", expr);
    }
}

fn services(batch: &LogBatch) -> Vec<String> {
    (0..batch.len()).map(|row| batch.service(row).to_owned()).collect()
}

fn outline<'a>(batch: &LogBatch, services: &'a [String]) -> BlockOutline<'a> {
    BlockOutline {
        first_seq: 1,
        last_seq: batch.len() as u64,
        min_time: batch.time.iter().copied().min().unwrap_or(0),
        max_time: batch.time.iter().copied().max().unwrap_or(0),
        severities: batch.severity.iter().fold(0, |bits, severity| bits | 1 << (severity & 31)),
        services: Some(services),
    }
}
