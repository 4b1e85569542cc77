use std::time::Duration;

use tempfile::TempDir;
use watchfire_types::Timestamp;

use super::bundle::tests::archive;
use super::*;
use crate::errors::originals::{Build, Call, Found, Originals as _};

const MINIFIED: &str = include_str!("../../../tests/fixtures/source_maps/main.js");
const MAP: &str = include_str!("../../../tests/fixtures/source_maps/main.js.map");
const ID: &str = "c662140f-c9aa-5928-892a-5f717e3ddc7b";

struct House {
    maps: SourceMaps,
    clock: Clock,
    folder: TempDir,
    own: SelfMetrics,
}

impl House {
    fn new(max_bytes: u64) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (clock, own) = (Clock::manual(Timestamp::from_seconds(1_795_392_600)), SelfMetrics::default());
        let settings = SourceMapSettings { max_bytes, max_age: Duration::from_secs(86_400) };
        let maps = SourceMaps::open(folder.path(), settings, clock.clone(), &own).unwrap();
        Self { maps, clock, folder, own }
    }

    /// Uploads `bundle` in chunks of a hundred bytes.
    async fn upload(&self, bundle: &[u8], release: &str, dist: &str) -> Assembled {
        let chunks: Vec<(String, Vec<u8>)> = bundle.chunks(100).map(|chunk| (assemble::sha1(chunk), chunk.to_vec())).collect();
        let wanted = Wanted {
            checksum: assemble::sha1(bundle),
            chunks: chunks.iter().map(|(sha1, _)| sha1.clone()).collect(),
            version: Some(release.to_owned()).filter(|release| !release.is_empty()),
            dist: Some(dist.to_owned()),
            projects: vec!["p".to_owned()],
        };
        let first = self.maps.assemble(wanted.clone()).await.unwrap();
        if first.state != "not_found" {
            return first;
        }
        let missing: Vec<_> = chunks.into_iter().filter(|(sha1, _)| first.missing_chunks.contains(sha1)).collect();
        assert!(!missing.is_empty());
        self.maps.add_chunks(missing).await.unwrap();
        self.maps.assemble(wanted).await.unwrap()
    }

    async fn ids(&self) -> Vec<String> {
        self.maps.list(None).await.unwrap().into_iter().map(|bundle| bundle.id).collect()
    }

    fn find(&self, release: &str, dist: &str, debug_id: &str, file: &str) -> String {
        let call = Call { file, line: 1, column: MINIFIED.find("new RangeError").unwrap() as u32 + 1, function: "o" };
        match self.maps.find(&Build { release, dist, debug_id }, &call) {
            Found::Original(original) => format!("{} {}:{} by {}", original.function, original.file, original.line, original.map),
            Found::Unknown => "unknown".to_owned(),
            Found::NoMap(reason) => reason,
        }
    }
}

fn bundle(debug_id: &str, source_map: &str, minified: &str, map: &str) -> Vec<u8> {
    let headers = |more: &str| {
        if debug_id.is_empty() {
            format!("{{{more}}}")
        } else {
            format!(r#"{{"debug-id":"{debug_id}"{}{more}}}"#, if more.is_empty() { "" } else { "," })
        }
    };
    let reference = if source_map.is_empty() { String::new() } else { format!(r#""sourcemap":"{source_map}""#) };
    let manifest = format!(
        r#"{{"files":{{"a":{{"type":"minified_source","url":"~/static/main.js","headers":{}}},"b":{{"type":"source_map","url":"~/static/main.js.map","headers":{}}}}}}}"#,
        headers(&reference),
        headers("")
    );
    archive(&[("a", minified.as_bytes()), ("b", map.as_bytes()), ("manifest.json", manifest.as_bytes())])
}

const FILE: &str = "https://shop.example/static/main.js?v=1";

#[tokio::test(flavor = "multi_thread")]
async fn a_map_is_found_by_debug_id_and_by_release_dist_and_address() {
    let house = House::new(1 << 20);
    assert_eq!(house.find("shop@1", "", ID, FILE), "no source map has been uploaded");
    assert_eq!(house.upload(&bundle(ID, "", MINIFIED, MAP), "", "").await.state, "ok");
    assert_eq!(house.find("", "", ID, FILE), format!("total money.ts:3 by {ID}"));
    assert_eq!(house.find("", "", &ID.to_uppercase().replace('-', ""), FILE), format!("total money.ts:3 by {ID}"));
    assert_eq!(house.find("shop@1", "", "", FILE), "nothing of release `shop@1` has been uploaded");
    assert!(house.find("", "", "", FILE).contains("names no release"));
    let wrong = "c662140f-c9aa-5928-892a-000000000000";
    assert_eq!(house.find("", "", wrong, FILE), "no source map with this debug id has been uploaded");

    // By release: the header, the comment in the file, or the name with `.map`.
    for (release, reference) in [("shop@1", "main.js.map"), ("shop@2", "")] {
        assert_eq!(house.upload(&bundle("", reference, MINIFIED, MAP), release, "").await.state, "ok");
        assert_eq!(house.find(release, "", "", FILE), "total money.ts:3 by ~/static/main.js.map");
        assert_eq!(house.find(release, "web", "", FILE), "total money.ts:3 by ~/static/main.js.map", "one of no dist serves all");
        assert!(house.find(release, "", "", "https://shop.example/other.js").contains("has no source map of it"));
    }
    house.upload(&bundle("", "", MINIFIED, MAP), "shop@3", "web").await;
    assert!(house.find("shop@3", "app", "", FILE).contains("has no source map of it"));
    assert!(house.find("shop@3", "web", "", FILE).starts_with("total"));

    // A map within the file, and one that cannot be read.
    use base64::Engine as _;
    let inline = format!(
        "{MINIFIED}\n//# sourceMappingURL=data:application/json;base64,{}",
        base64::engine::general_purpose::STANDARD.encode(MAP)
    );
    let manifest = r#"{"files":{"a":{"type":"minified_source","url":"~/static/main.js"}}}"#;
    house.upload(&archive(&[("a", inline.as_bytes()), ("manifest.json", manifest.as_bytes())]), "shop@4", "").await;
    assert!(house.find("shop@4", "", "", FILE).starts_with("total money.ts:3"));
    house.upload(&bundle("", "", MINIFIED, "[]"), "shop@5", "").await;
    assert!(house.find("shop@5", "", "", FILE).contains("cannot be read: it is no source map"));
    house.upload(&archive(&[("a", MINIFIED.as_bytes()), ("manifest.json", manifest.as_bytes())]), "shop@6", "").await;
    assert!(house.find("shop@6", "", "", FILE).contains("without its source map"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bundle_is_kept_once_and_survives_a_restart() {
    let house = House::new(1 << 20);
    let bytes = bundle(ID, "", MINIFIED, MAP);
    assert_eq!(house.upload(&bytes, "shop@1", "").await.state, "ok");
    assert_eq!(house.upload(&bytes, "shop@1", "").await.state, "ok");
    assert_eq!(house.ids().await.len(), 1);
    let alone = house.maps.0.totals.lock().bytes;
    assert_eq!(house.upload(&bytes, "shop@2", "").await.state, "ok");
    assert_eq!((house.ids().await.len(), house.maps.0.totals.lock().bytes), (2, alone), "the same content is stored once");
    house.maps.close();
    let again = SourceMaps::open(house.folder.path(), house.maps.0.settings.clone(), house.clock.clone(), &house.own).unwrap();
    let views = again.list(Some("shop@2".to_owned())).await.unwrap();
    assert_eq!((views.len(), views[0].files, views[0].debug_ids.as_slice()), (1, 2, &[ID.to_owned()][..]));
    assert_eq!(views[0].urls, ["~/static/main.js"]);
    let id = views[0].id.parse().unwrap();
    assert!(again.remove(id).await.unwrap() && !again.remove(id).await.unwrap());
    assert_eq!(again.0.totals.lock().bytes, alone, "the other bundle has the content, too");
    let id = again.list(None).await.unwrap()[0].id.parse().unwrap();
    again.remove(id).await.unwrap();
    assert_eq!(*again.0.totals.lock(), Totals::default());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_is_said_and_leaves_nothing() {
    let house = House::new(1 << 20);
    for (bytes, reason) in [
        (b"no archive".to_vec(), "no zip archive"),
        (archive(&[("a", b"x")]), "no `manifest.json`"),
        (archive(&[("manifest.json", b"{}")]), "neither a minified file nor a source map"),
    ] {
        let refused = house.upload(&bytes, "shop@1", "").await;
        assert_eq!(refused.state, "error");
        assert!(refused.detail.as_deref().unwrap().contains(reason), "{refused:?}");
    }
    let wrong = Wanted { checksum: "x".to_owned(), chunks: vec!["y".to_owned()], ..Wanted::default() };
    assert!(house.maps.assemble(wrong).await.unwrap().detail.unwrap().contains("no SHA-1"));
    // Chunks that are not those of the whole.
    let (chunk, whole) = (assemble::sha1(b"part"), assemble::sha1(b"whole"));
    house.maps.add_chunks(vec![(chunk.clone(), b"part".to_vec())]).await.unwrap();
    let mixed = Wanted { checksum: whole, chunks: vec![chunk], ..Wanted::default() };
    assert!(house.maps.assemble(mixed).await.unwrap().detail.unwrap().contains("checksum"));
    assert_eq!(*house.maps.0.totals.lock(), Totals::default());
    // Random bytes cannot be packed into a mebibyte.
    let mut noise = vec![0_u8; 3 << 20];
    fastrand::Rng::with_seed(7).fill(&mut noise);
    let manifest = r#"{"files":{"a":{"type":"source_map","url":"~/a"}}}"#;
    let large = house.upload(&archive(&[("a", &noise), ("manifest.json", manifest.as_bytes())]), "", "").await;
    assert!(large.detail.unwrap().contains("error_tracking.source_maps.max_bytes"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_old_unused_or_incomplete_goes() {
    let house = House::new(1 << 20);
    house.upload(&bundle(ID, "", MINIFIED, MAP), "shop@1", "").await;
    house.upload(&bundle("", "", MINIFIED, MAP), "shop@2", "").await;
    house.maps.add_chunks(vec![(assemble::sha1(b"part"), b"part".to_vec())]).await.unwrap();
    house.clock.advance(Duration::from_secs(80_000));
    assert!(house.find("", "", ID, FILE).starts_with("total"), "this one is used");
    house.clock.advance(Duration::from_secs(10_000));
    house.maps.clean().await.unwrap();
    // Read, and so noted, within the last day.
    let left = house.maps.list(None).await.unwrap();
    assert_eq!(left.iter().map(|bundle| bundle.release.as_str()).collect::<Vec<_>>(), ["shop@1"]);
    assert_eq!(
        house.maps.0.database.read_blocking(|connection| store::missing(connection, &[assemble::sha1(b"part")])).unwrap().len(),
        1
    );

    // Beyond the bytes, those go that were not used for longest.
    let mut noise = fastrand::Rng::with_seed(3);
    let mut large = |release: &str| {
        let text: String = std::iter::repeat_with(|| noise.alphanumeric()).take(900_000).collect();
        (bundle("", "", &text, MAP), release.to_owned())
    };
    for (bytes, release) in [large("shop@3"), large("shop@4")] {
        house.clock.advance(Duration::from_secs(60));
        assert_eq!(house.upload(&bytes, &release, "").await.state, "ok");
    }
    let left: Vec<String> = house.maps.list(None).await.unwrap().into_iter().map(|bundle| bundle.release).collect();
    assert_eq!(left, ["shop@4"]);
    assert!(house.maps.0.totals.lock().bytes <= 1 << 20);
}
