//! Which format is meant.

use std::path::Path;

use formats::Format;

#[test]
fn by_file_name() {
    let cases = [
        ("a.speedscope.json", Some(Format::Speedscope)),
        ("a.JSON", Some(Format::Speedscope)),
        ("/tmp/x.collapsed", Some(Format::Collapsed)),
        ("x.folded", Some(Format::Collapsed)),
        ("x.y.TXT", Some(Format::Collapsed)),
        ("x", None),
        ("x.gif", None),
        ("x.svg", Some(Format::Svg)),
        ("x.trace.json", Some(Format::Chrome)),
        ("x.firefox.json", Some(Format::Firefox)),
        ("x.pb.gz", Some(Format::Pprof)),
        ("x.gz", None),
        ("callgrind.out.4711", Some(Format::Callgrind)),
        ("callgrind.out", Some(Format::Callgrind)),
        ("dir.json/x", None),
        ("", None),
    ];
    for (path, format) in cases {
        assert_eq!(Format::from_path(Path::new(path)), format, "{path}");
    }
}

#[test]
fn by_name() {
    assert_eq!(Format::from_name("Speedscope"), Some(Format::Speedscope));
    assert_eq!(Format::from_name("collapsed"), Some(Format::Collapsed));
    assert_eq!(Format::from_name("gif"), None);
    for format in Format::ALL {
        assert_eq!(Format::from_name(format.name()), Some(format));
        for extension in format.extensions() {
            assert_eq!(Format::from_path(Path::new(&format!("x{extension}"))), Some(format));
        }
    }
}

#[test]
fn by_content() {
    assert_eq!(Format::sniff(b"\xef\xbb\xbf \n{\"a\": 1}"), Format::Speedscope);
    assert_eq!(Format::sniff(b"a;b 1"), Format::Collapsed);
    assert_eq!(Format::sniff(b""), Format::Collapsed);
}
