use std::io::Write as _;

use proptest::prelude::*;

use super::*;

/// Writes an archive; each file is deflated.
pub(in crate::source_maps) fn archive(files: &[(&str, &[u8])]) -> Vec<u8> {
    archive_with(files, |_| {})
}

/// As [`archive`], with a change of each entry of the directory.
fn archive_with(files: &[(&str, &[u8])], change: impl Fn(&mut Vec<u8>)) -> Vec<u8> {
    let mut out = b"SYSB\x02\0\0\0".to_vec();
    let mut directory = Vec::new();
    for (name, content) in files {
        let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(content).unwrap();
        let packed = encoder.finish().unwrap();
        let mut sizes = Vec::new();
        sizes.extend_from_slice(&8_u16.to_le_bytes());
        sizes.extend_from_slice(&[0; 4]);
        sizes.extend_from_slice(&crc32fast::hash(content).to_le_bytes());
        sizes.extend_from_slice(&(packed.len() as u32).to_le_bytes());
        sizes.extend_from_slice(&(content.len() as u32).to_le_bytes());
        sizes.extend_from_slice(&(name.len() as u16).to_le_bytes());
        sizes.extend_from_slice(&[0; 2]);
        let mut entry = b"PK\x01\x02\x14\0\x14\0\0\0".to_vec();
        entry.extend_from_slice(&sizes);
        entry.extend_from_slice(&[0; 10]);
        entry.extend_from_slice(&(out.len() as u32).to_le_bytes());
        change(&mut entry);
        directory.extend_from_slice(&entry);
        directory.extend_from_slice(name.as_bytes());
        out.extend_from_slice(b"PK\x03\x04\x14\0\0\0");
        out.extend_from_slice(&sizes);
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(&packed);
    }
    let start = out.len() as u32;
    out.extend_from_slice(&directory);
    out.extend_from_slice(b"PK\x05\x06\0\0\0\0");
    out.extend_from_slice(&(files.len() as u16).to_le_bytes());
    out.extend_from_slice(&(files.len() as u16).to_le_bytes());
    out.extend_from_slice(&(directory.len() as u32).to_le_bytes());
    out.extend_from_slice(&start.to_le_bytes());
    out.extend_from_slice(&[0; 2]);
    out
}

const ID: &str = "c662140f-c9aa-5928-892a-5f717e3ddc7b";

fn manifest() -> String {
    format!(
        r#"{{"files":{{"files/_/_/app.js":{{"type":"minified_source","url":"~/app.js","headers":{{"debug-id":"{ID}","sourcemap":"app.js.map"}}}},
        "files/_/_/app.js.map":{{"type":"source_map","url":"~/app.js.map","headers":{{"Debug-Id":"{ID}"}}}},
        "notes":{{"type":"source","url":"~/notes"}}}},"project":"p","release":"shop@1","dist":"d"}}"#
    )
}

fn read_all(bundle: &[u8]) -> Result<(Head, Vec<Artifact>), String> {
    let mut files = Vec::new();
    let head = read(bundle, |file| {
        files.push(file);
        Ok(())
    })?;
    Ok((head, files))
}

#[test]
fn a_bundle_says_what_its_files_are() {
    let manifest = manifest();
    let bundle = archive(&[("files/_/_/app.js", b"a"), ("files/_/_/app.js.map", b"{}"), ("manifest.json", manifest.as_bytes())]);
    let (head, files) = read_all(&bundle).unwrap();
    assert_eq!((head.release.as_str(), head.dist.as_str(), head.project.as_str(), head.skipped), ("shop@1", "d", "p", 1));
    assert_eq!(files.len(), 2);
    assert_eq!((files[0].url.as_str(), files[0].source_map.as_str(), files[0].kind), ("~/app.js", "app.js.map", Kind::Minified));
    assert_eq!(
        (files[1].content.as_slice(), files[1].kind, written(&files[1].debug_id).as_str()),
        (&b"{}"[..], Kind::SourceMap, ID)
    );
}

#[test]
fn what_is_wrong_with_a_bundle_is_said() {
    let manifest = manifest();
    let refused = |bundle: &[u8]| read_all(bundle).unwrap_err();
    assert!(refused(b"no archive").contains("no zip archive"));
    assert!(refused(&archive(&[("app.js", b"a")])).contains("no `manifest.json`"));
    assert!(refused(&archive(&[("manifest.json", b"{")])).contains("cannot be read"));
    assert!(refused(&archive(&[("manifest.json", manifest.as_bytes())])).contains("which is not in the bundle"));
    for path in ["../../etc/passwd", "/etc/passwd", "a/../../b", "a\\b", ""] {
        assert!(refused(&archive(&[(path, b"x"), ("manifest.json", b"{}")])).contains("no path within it"), "{path}");
    }
    let twice = archive(&[("manifest.json", b"{}"), ("manifest.json", b"{}")]);
    assert!(refused(&twice).contains("two files"));
    let id = r#"{"files":{"a":{"type":"source_map","url":"~/a","headers":{"debug-id":"x"}}}}"#;
    assert!(refused(&archive(&[("a", b"{}"), ("manifest.json", id.as_bytes())])).contains("debug id `x`"));
}

#[test]
fn a_bomb_is_not_unpacked() {
    let zeros = vec![0_u8; 1 << 20];
    // It says that it is small, and is not.
    let lies = archive_with(&[("manifest.json", &zeros)], |entry| entry[24..28].copy_from_slice(&10_u32.to_le_bytes()));
    assert!(read_all(&lies).unwrap_err().contains("longer than the 10 bytes"));
    // It says how large it is.
    let honest =
        archive_with(&[("manifest.json", b"{}"), ("a", b"a")], |entry| entry[24..28].copy_from_slice(&(1_u32 << 30).to_le_bytes()));
    assert!(read_all(&honest).unwrap_err().contains("upload it in parts"));
    let damaged = archive_with(&[("manifest.json", b"{}")], |entry| entry[16] ^= 1);
    assert!(read_all(&damaged).unwrap_err().contains("checksum"));
    let unknown = archive_with(&[("manifest.json", b"{}")], |entry| entry[10] = 12);
    assert!(read_all(&unknown).unwrap_err().contains("method 12"));
    let encrypted = archive_with(&[("manifest.json", b"{}")], |entry| entry[8] = 1);
    assert!(read_all(&encrypted).unwrap_err().contains("encrypted"));
}

proptest! {
    #[test]
    fn what_was_packed_is_read_back(files in proptest::collection::btree_map("[a-z]{1,8}", proptest::collection::vec(any::<u8>(), 0..200), 0..6)) {
        let list: Vec<(&str, &[u8])> = files.iter().map(|(name, content)| (name.as_str(), content.as_slice())).collect();
        let packed = archive(&list);
        let read: Vec<(String, Vec<u8>)> = zip::entries(&packed).unwrap().iter().map(|entry| (entry.name.to_owned(), entry.read(1 << 20).unwrap())).collect();
        prop_assert_eq!(read, files.into_iter().collect::<Vec<_>>());
    }

    #[test]
    fn a_damaged_bundle_is_refused_or_read_and_never_more(flips in proptest::collection::vec((any::<usize>(), any::<u8>()), 0..8), cut in any::<usize>()) {
        let manifest = manifest();
        let mut bundle = archive(&[("files/_/_/app.js", b"function a(){}"), ("files/_/_/app.js.map", b"{}"), ("manifest.json", manifest.as_bytes())]);
        for (at, with) in flips {
            let at = at % bundle.len();
            bundle[at] ^= with;
        }
        bundle.truncate(bundle.len() - cut % (bundle.len() / 4 + 1) * usize::from(cut % 3 == 0));
        if let Ok((_, files)) = read_all(&bundle) {
            prop_assert!(files.iter().all(|file| file.content.len() as u64 <= MAX_FILE_BYTES));
        }
    }

    #[test]
    fn any_bytes_are_no_bundle(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(read_all(&bytes).is_err());
    }
}
