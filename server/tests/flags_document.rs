//! `docs/flags.md` is what the table says.

const PATH: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/flags.md");

#[test]
fn the_document_is_current() {
    let expected = vetch_server::config::markdown();
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::create_dir_all(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs")).unwrap();
        std::fs::write(PATH, &expected).unwrap();
    }
    let found = std::fs::read_to_string(PATH).unwrap_or_default();
    assert!(
        found == expected,
        "run: UPDATE_DOCS=1 cargo test -p vetch-server --test flags_document"
    );
}
