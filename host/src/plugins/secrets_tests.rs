use proptest::prelude::*;

use super::*;

const HOST: &str = "https://api.example.com";

fn secret(name: &str, value: &str) -> BoundSecret {
    BoundSecret { name: name.into(), value: Secret::new(value), hosts: vec![HOST.into()] }
}

fn boxed(secrets: impl IntoIterator<Item = BoundSecret>) -> SecretBox {
    SecretBox::new(Arc::new(secrets.into_iter().collect()))
}

fn target(url: &str) -> Url {
    Url::parse(url).unwrap()
}

fn expand(secrets: &SecretBox, text: &str) -> Result<String, SecretRefusal> {
    secrets.expand(text.as_bytes(), &target(HOST)).map(|bytes| String::from_utf8(bytes).unwrap())
}

#[test]
fn a_placeholder_is_replaced_in_the_encoding_that_was_asked_for() {
    let secrets = boxed([secret("first", "other"), secret("token", "a b/\"c\"")]);
    let token = |encoding| secrets.placeholder("token", encoding).unwrap();
    let text = format!("{} {} {}!", token("raw"), token("url"), token("json"));
    assert_eq!(expand(&secrets, &text).unwrap(), "a b/\"c\" a%20b%2F%22c%22 a b/\\\"c\\\"!");
    assert_eq!((secrets.placeholder("token", "hex"), secrets.placeholder("tokem", "raw")), (None, None));
    assert_eq!(expand(&secrets, "no placeholder").unwrap(), "no placeholder");
}

#[test]
fn a_basic_header_is_made_as_the_request_leaves() {
    let secrets = boxed([secret("password", "open sesame"), secret("key", "k-123")]);
    let header = secrets.basic("Aladdin", "password").unwrap();
    assert_eq!(expand(&secrets, &header).unwrap(), "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
    // Where the user is a secret as well.
    let header = secrets.basic(&secrets.placeholder("key", "raw").unwrap(), "password").unwrap();
    assert_eq!(expand(&secrets, &header).unwrap(), format!("Basic {}", STANDARD.encode("k-123:open sesame")));
    assert_eq!(secrets.basic("Aladdin", "pass"), None);
    // A header that would hold itself.
    let own = header.replace("_0001b", "_0002b");
    let header = secrets.basic(&own, "password").unwrap();
    assert_eq!(header, own);
    assert_eq!(expand(&secrets, &header), Err(SecretRefusal::Forged));
    assert_eq!(secrets.basic("Aladdin", "password"), secrets.basic("Aladdin", "password"));
    let asked = (0..1000).filter_map(|user| secrets.basic(&user.to_string(), "password")).count();
    assert!(asked < MAX_BASIC, "{asked}");
}

#[test]
fn a_placeholder_of_another_delivery_is_forged() {
    let (one, other) = (boxed([secret("token", "hush")]), boxed([secret("token", "hush")]));
    let placeholder = one.placeholder("token", "raw").unwrap();
    assert_eq!(expand(&one, &placeholder).unwrap(), "hush");
    assert_eq!(expand(&other, &placeholder), Err(SecretRefusal::Forged));
    let beyond = placeholder.replace("_0000r", "_0001r");
    let unknown = placeholder.replace("_0000r", "_0000x");
    let basic = placeholder.replace("_0000r", "_0000b");
    for forged in [PREFIX, "wfsecret_", &placeholder[..placeholder.len() - 1], &beyond, &unknown, &basic, "awfsecretz"] {
        assert_eq!(expand(&one, forged), Err(SecretRefusal::Forged), "{forged}");
    }
}

#[test]
fn a_text_of_nothing_but_placeholders_is_refused() {
    let secrets = boxed([secret("token", "hush")]);
    let many = secrets.placeholder("token", "raw").unwrap().repeat(MAX_PLACEHOLDERS);
    assert_eq!(expand(&secrets, &many).unwrap(), "hush".repeat(MAX_PLACEHOLDERS));
    let more = format!("{many}{many}");
    assert_eq!(expand(&secrets, &more), Err(SecretRefusal::TooMany));
}

#[test]
fn a_secret_goes_only_where_it_is_bound_to() {
    let secrets = boxed([secret("token", "hush")]);
    let text = format!("x={}", secrets.placeholder("token", "url").unwrap());
    for url in ["https://api.example.com.evil.org/", "http://api.example.com/", "https://api.example.com:444/", "https://evil.org/"]
    {
        let refused = secrets.expand(text.as_bytes(), &target(url)).unwrap_err();
        assert!(matches!(refused, SecretRefusal::NotForThisHost { .. }), "{url}");
        assert!(!refused.to_string().contains("hush"));
        let header = secrets.basic("user", "token").unwrap();
        assert!(secrets.expand(header.as_bytes(), &target(url)).is_err());
        assert!(secrets.url(&format!("{url}?{text}")).is_err());
    }
}

#[test]
fn a_whole_url_may_be_a_secret() {
    let secrets = boxed([
        secret("hook", "https://api.example.com/services/T/B/hush"),
        secret("elsewhere", "https://evil.org/hush"),
        secret("bare", "https://api.example.com"),
        secret("token", "h?u/s h"),
    ]);
    let raw = |name| secrets.placeholder(name, "raw").unwrap();
    let url = |text: &str| secrets.url(text).map(String::from);
    assert_eq!(url(&raw("hook")).unwrap(), "https://api.example.com/services/T/B/hush");
    assert_eq!(url(&format!("{}?wait=true", raw("hook"))).unwrap(), "https://api.example.com/services/T/B/hush?wait=true");
    let token = secrets.placeholder("token", "url").unwrap();
    assert_eq!(url(&format!("{HOST}/send?t={token}&u=1")).unwrap(), "https://api.example.com/send?t=h%3Fu%2Fs%20h&u=1");
    assert!(matches!(url(&raw("elsewhere")), Err(SecretRefusal::NotForThisHost { .. })));
    assert!(matches!(url(&raw("token")), Err(SecretRefusal::NotUrl { .. })));
    for moved in [
        format!("{}.evil.org/", raw("bare")),
        format!("{}@evil.org/", raw("bare")),
        format!("{}:8443/", raw("bare")),
        format!("https://{token}.example.com/"),
        format!("https://{token}@api.example.com/"),
        format!("https://x:{token}@api.example.com/"),
    ] {
        assert_eq!(url(&moved), Err(SecretRefusal::InHost), "{moved}");
    }
    assert_eq!(url("wfsecret"), Err(SecretRefusal::Forged));
    assert!(matches!(url("not a url"), Err(SecretRefusal::NotUrl { .. })));
}

#[test]
fn a_signature_is_made_with_the_value() {
    let secrets = boxed([secret("key", "Jefe")]);
    let key = secrets.placeholder("key", "raw").unwrap();
    let hex = |bytes: Vec<u8>| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().concat();
    // RFC 4231, test case 2, and RFC 2202, test case 2 of HMAC-SHA-1.
    let message = b"what do ya want for nothing?";
    insta::assert_snapshot!(hex(secrets.sign("hmac-sha256", key.as_bytes(), message).unwrap()), @"5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
    insta::assert_snapshot!(hex(secrets.sign("hmac-sha1", key.as_bytes(), message).unwrap()), @"effcdf6ae5eb2fa2d27416d5f184df9c259a7c79");
    let message = format!("1700000000000\n{key}");
    let expected = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, b"Jefe"), b"1700000000000\nJefe");
    assert_eq!(secrets.sign("hmac-sha256", key.as_bytes(), message.as_bytes()).unwrap(), expected.as_ref());
    insta::assert_snapshot!(secrets.sign("hmac-sha256", b"known", message.as_bytes()).unwrap_err(), @"the key holds no placeholder: what needs no secret the plugin can sign itself");
    insta::assert_snapshot!(secrets.sign("md5", key.as_bytes(), b"").unwrap_err(), @"there is no algorithm `md5`: `hmac-sha256` and `hmac-sha1` there are");
    insta::assert_snapshot!(secrets.sign("hmac-sha1", b"wfsecret_guess", b"").unwrap_err(), @"the key cannot be used: it holds a placeholder that the host did not hand out for this delivery");
}

#[test]
fn what_comes_back_holds_no_secret() {
    let secrets = boxed([secret("token", "p√ss/wörd+1"), secret("short", "abc"), secret("longer", "p√ss/wörd+1 and more")]);
    for (text, expected) in [
        ("you sent p√ss/wörd+1!", "you sent [secret]!"),
        ("p√ss/wörd+1 and more", "[secret]"),
        (r#"{"t":"p\u221ass/w\u00f6rd+1"}"#, r#"{"t":"[secret]"}"#),
        (r#"{"t":"p√ss\/wörd+1"}"#, r#"{"t":"[secret]"}"#),
        ("?t=p%E2%88%9Ass%2Fw%C3%B6rd%2B1&x", "?t=[secret]&x"),
        ("?t=p%e2%88%9ass%2fw%c3%b6rd%2b1&x", "?t=[secret]&x"),
        ("abc stays: it would be found everywhere", "abc stays: it would be found everywhere"),
        ("wfsecret_0", "wf_secret_0"),
    ] {
        assert_eq!(String::from_utf8(secrets.scrub(text.as_bytes())).unwrap(), expected);
    }
    for lead in ["", "u:", "me:", "user:"] {
        for engine in [STANDARD, URL_SAFE] {
            let echoed = secrets.scrub(engine.encode(format!("{lead}p√ss/wörd+1!")).as_bytes());
            assert!(String::from_utf8(echoed).unwrap().contains(TAKEN_OUT), "{lead}");
        }
    }
    assert_eq!(secrets.scrub(&[0xff, 0xfe, 0]), [0xff, 0xfe, 0]);
    assert!(secrets.longest() >= "p%E2%88%9Ass%2Fw%C3%B6rd%2B1%20and%20more".len());
}

#[test]
fn what_a_plugin_says_is_shown_without_placeholders() {
    let secrets = boxed([secret("token", "hush-hush")]);
    let placeholder = secrets.placeholder("token", "url").unwrap();
    assert_eq!(secrets.show(&format!("sent to /x?t={placeholder}, not hush-hush")), "sent to /x?t=[secret], not [secret]");
    assert_eq!(secrets.show("wfsecret"), "[secret]");
    assert_eq!(break_up("a wfsecret_1 wfwfsecretsecret"), "a wf_secret_1 wfwf_secretsecret");
}

proptest! {
    #[test]
    fn a_placeholder_survives_every_encoding(value in "\\PC{0,40}", before in "\\PC{0,20}", after in "\\PC{0,20}") {
        let secrets = boxed([secret("token", &value)]);
        let placeholder = secrets.placeholder("token", "raw").unwrap();
        prop_assert_eq!(percent_encoded(&placeholder), placeholder.clone());
        let form: String = url::form_urlencoded::byte_serialize(placeholder.as_bytes()).collect();
        prop_assert_eq!(&form, &placeholder);
        prop_assert_eq!(json_escaped(&placeholder), placeholder.clone());
        prop_assert_eq!(placeholder.len(), PLACEHOLDER_CHARS);
        let (before, after) = (break_up(&before), break_up(&after));
        let expanded = expand(&secrets, &format!("{before}{placeholder}{after}")).unwrap();
        prop_assert_eq!(expanded, format!("{before}{value}{after}"));
        // As JSON and in a query, what arrives is the value.
        let json = format!("\"{}\"", secrets.placeholder("token", "json").unwrap());
        let read: String = serde_json::from_str(&expand(&secrets, &json).unwrap()).unwrap();
        prop_assert_eq!(&read, &value);
        let url = secrets.url(&format!("{HOST}/?t={}", secrets.placeholder("token", "url").unwrap())).unwrap();
        prop_assert_eq!(url.query_pairs().next().unwrap().1.into_owned(), value);
    }

    #[test]
    fn an_expansion_never_leaks_to_another_host(host in "[a-z0-9.-]{1,20}", port in 1_u16.., text in "[a-z/?&=.@:]{0,20}") {
        let secrets = boxed([secret("token", "hush-hush-hush"), secret("hook", "https://api.example.com/hush-hush-hush")]);
        for name in ["token", "hook"] {
            for encoding in ["raw", "url", "json"] {
                let placeholder = secrets.placeholder(name, encoding).unwrap();
                for url in [
                    format!("https://{host}:{port}/{placeholder}"),
                    format!("https://{host}/{text}{placeholder}"),
                    format!("{placeholder}{text}{host}"),
                    format!("https://{placeholder}{text}{host}"),
                    format!("{text}{placeholder}"),
                ] {
                    if let Ok(expanded) = secrets.url(&url) && expanded.as_str().contains("hush") {
                        prop_assert_eq!(origin::of(&expanded), HOST);
                    }
                }
            }
        }
    }

    #[test]
    fn no_value_comes_back_in_any_form(value in "[ -~]{4,30}", before in "[a-z]{0,7}", after in "[a-z]{0,7}") {
        let secrets = boxed([secret("token", &value)]);
        let form: String = url::form_urlencoded::byte_serialize(value.as_bytes()).collect();
        for shape in [value.clone(), percent_encoded(&value), form, json_escaped(&value)] {
            let echoed = secrets.scrub(format!("{before}{shape}{after}").as_bytes());
            prop_assert!(!String::from_utf8(echoed).unwrap().contains(&shape));
        }
        let encoded = STANDARD.encode(format!("{before}{value}{after}"));
        prop_assert_ne!(secrets.scrub(encoded.as_bytes()), encoded.as_bytes());
    }
}
