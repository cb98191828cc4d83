//! Docker's syntaxes, what they mean and what is refused.

use ampoule_volumes::{ErrorKind, Result, Volume};

fn check(parsed: Result<Volume>, expect: &str) {
    let shown = match parsed {
        Ok(volume) => format!("{volume:?}"),
        Err(error) => format!("{:?}: {error}", error.kind()),
    };
    assert_eq!(shown, expect);
}

fn bind(target: &str, rest: &str) -> String {
    format!("Volume {{ target: {target:?}, source: Bind(Bind {{ {rest}, idmap: None }}) }}")
}

fn tmpfs(target: &str, rest: &str) -> String {
    format!("Volume {{ target: {target:?}, source: Tmpfs(Tmpfs {{ {rest} }}) }}")
}

#[test]
fn volume_flags() {
    check(
        Volume::parse_volume("/a:/b"),
        &bind(
            "/b",
            r#"source: "/a", read_only: false, recursive: true, writable_below: false, propagation: Private"#,
        ),
    );
    check(
        Volume::parse_volume("/a:/b:ro,rslave"),
        &bind(
            "/b",
            r#"source: "/a", read_only: true, recursive: true, writable_below: false, propagation: Slave"#,
        ),
    );
    check(
        Volume::parse_volume("/a"),
        r#"Invalid: -v "/a" (SOURCE:TARGET or SOURCE:TARGET:OPTIONS)"#,
    );
    check(
        Volume::parse_volume("/a:/b:ro:x"),
        r#"Invalid: -v "/a:/b:ro:x" (SOURCE:TARGET or SOURCE:TARGET:OPTIONS)"#,
    );
    check(
        Volume::parse_volume("/a:b"),
        r#"Invalid: -v "/a:b" (the target must be an absolute path)"#,
    );
    check(
        Volume::parse_volume("data:/b"),
        r#"Unsupported: -v "data:/b" (a source without a slash would be a named volume: give an absolute path)"#,
    );
    check(
        Volume::parse_volume("./a:/b"),
        r#"Invalid: -v "./a:/b" (the source must be an absolute path)"#,
    );
    check(
        Volume::parse_volume(":/b"),
        r#"Invalid: -v ":/b" (the source is missing)"#,
    );
    check(
        Volume::parse_volume("/a:/b:or"),
        r#"Invalid: -v "/a:/b:or" (there is no option "or")"#,
    );
    check(
        Volume::parse_volume("/a:/b:z"),
        r#"Unsupported: -v "/a:/b:z" (labels of SELinux are not set: leave it out)"#,
    );
}

#[test]
fn mount_flags() {
    check(
        Volume::parse_mount("type=bind,src=/a,dst=/b,readonly,bind-recursive=writable"),
        &bind(
            "/b",
            r#"source: "/a", read_only: true, recursive: true, writable_below: true, propagation: Private"#,
        ),
    );
    check(
        Volume::parse_mount(r#"type=bind,"source=/a,b",target=/c,ro=false"#),
        &bind(
            "/c",
            r#"source: "/a,b", read_only: false, recursive: true, writable_below: false, propagation: Private"#,
        ),
    );
    check(
        Volume::parse_mount("type=tmpfs,target=/t,tmpfs-size=64m,tmpfs-mode=0700"),
        &tmpfs(
            "/t",
            "size: Some(67108864), mode: 448, owner: None, read_only: false, exec: false",
        ),
    );
    check(
        Volume::parse_mount("type=bind,target=/b"),
        r#"Invalid: --mount "type=bind,target=/b" (the source is missing)"#,
    );
    check(
        Volume::parse_mount("type=bind,source=/a"),
        r#"Invalid: --mount "type=bind,source=/a" (the target is missing)"#,
    );
    check(
        Volume::parse_mount("type=nfs,target=/b"),
        r#"Invalid: --mount "type=nfs,target=/b" (there is no type "nfs")"#,
    );
    check(
        Volume::parse_mount("source=a,target=/b"),
        r#"Unsupported: --mount "source=a,target=/b" (type=bind or type=tmpfs)"#,
    );
    check(
        Volume::parse_mount("type=tmpfs,target=/t,size=1"),
        r#"Invalid: --mount "type=tmpfs,target=/t,size=1" (there is no option size="1" of this type)"#,
    );
    check(
        Volume::parse_mount("type=bind,source=/a,target=/b,ro=maybe"),
        r#"Invalid: --mount "type=bind,source=/a,target=/b,ro=maybe" ("maybe" is neither true nor false)"#,
    );
}

#[test]
fn tmpfs_flags() {
    check(
        Volume::parse_tmpfs("/t"),
        &tmpfs(
            "/t",
            "size: None, mode: 1023, owner: None, read_only: false, exec: false",
        ),
    );
    check(
        Volume::parse_tmpfs("/t:size=64k,mode=755,uid=7,exec,nosuid,ro"),
        &tmpfs(
            "/t",
            "size: Some(65536), mode: 493, owner: Some((7, 0)), read_only: true, exec: true",
        ),
    );
    check(
        Volume::parse_tmpfs("t"),
        r#"Invalid: --tmpfs "t" (the target must be an absolute path)"#,
    );
    for size in [
        "",
        "0",
        "-1",
        "64x",
        "m",
        "18446744073709551616",
        "99999999999t",
    ] {
        let error = Volume::parse_tmpfs(&format!("/t:size={size}")).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
    }
    for mode in ["8", "", "17777", "+7"] {
        let error = Volume::parse_tmpfs(&format!("/t:mode={mode}")).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
    }
}

proptest::proptest! {
    #[test]
    fn no_text_makes_it_panic(text in "[a-z/:,=\"0-9.]{0,40}") {
        let _ = Volume::parse_volume(&text);
        let _ = Volume::parse_mount(&text);
        let _ = Volume::parse_tmpfs(&text);
    }
}
