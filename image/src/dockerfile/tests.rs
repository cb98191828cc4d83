//! Golden texts: what is read, and what is refused with which words.

use super::*;
use proptest::prelude::*;

fn steps(text: &str) -> Vec<Step> {
    Dockerfile::parse("D", &format!("FROM scratch\n{text}"))
        .unwrap()
        .stages
        .remove(0)
        .steps
}

fn one(text: &str) -> Instruction {
    let mut steps = steps(text);
    assert_eq!(steps.len(), 1, "{text}");
    steps.remove(0).instruction
}

fn refused(text: &str, expect: &str) {
    assert_eq!(
        Dockerfile::parse("D", text).unwrap_err().to_string(),
        expect,
        "{text:?}"
    );
}

#[test]
fn lines_are_joined_and_comments_dropped() {
    let run = one("RUN one \\\n  # a comment\n\n  two   \\  \n three # not a comment\n");
    let Instruction::Run(run) = run else {
        panic!("{run:?}")
    };
    assert_eq!(
        run.arguments,
        Arguments::Shell("one   two    three # not a comment".into())
    );
    let windows = Dockerfile::parse("D", "# escape=`\nFROM x\nRUN dir c:\\ `\n /s").unwrap();
    assert_eq!(windows.stages[0].steps[0].text, "RUN dir c:\\  /s");
    assert_eq!(windows.escape, '`');
    assert_eq!(steps("RUN a\r\nRUN b\r\n").len(), 2);
    assert_eq!(steps("RUN a\\\\\nRUN b").len(), 2);
}

#[test]
fn here_documents_belong_to_their_instruction() {
    let run = one("RUN <<EOF bash\necho $a\n  two\nEOF");
    let Instruction::Run(run) = run else {
        panic!("{run:?}")
    };
    let document = HereDocument {
        name: "EOF".into(),
        content: "echo $a\n  two\n".into(),
        expands: true,
    };
    assert_eq!(
        (run.documents, run.arguments),
        (vec![document], Arguments::Shell("<<EOF bash".into()))
    );
    let copy = one("COPY <<-\"A\" <<B file /dest/\n\t\tx\n\tA\ny\nB");
    let Instruction::Copy(copy) = copy else {
        panic!("{copy:?}")
    };
    assert_eq!(
        (copy.sources, copy.destination.as_str()),
        (vec!["file".to_string()], "/dest/")
    );
    assert_eq!(
        copy.documents[0],
        HereDocument {
            name: "A".into(),
            content: "x\n".into(),
            expands: false
        }
    );
    assert_eq!(copy.documents[1].content, "y\n");
    assert_eq!(
        steps("RUN cat <<< hello && echo $((1 << 2))\nRUN echo '<<EOF'").len(),
        2
    );
}

#[test]
fn instructions_in_all_forms() {
    assert_eq!(
        one("ENV a=1 b=\"x y\" c=\\ z"),
        Instruction::Env(vec![
            ("a".into(), "1".into()),
            ("b".into(), "\"x y\"".into()),
            ("c".into(), "\\ z".into()),
        ])
    );
    assert_eq!(
        one("ENV old  the whole rest"),
        Instruction::Env(vec![("old".into(), "the whole rest".into())])
    );
    assert_eq!(
        one("cmd [\"a\", \"b c\"]"),
        Instruction::Cmd(Arguments::Exec(vec!["a".into(), "b c".into()]))
    );
    assert_eq!(
        one("CMD [ -f x ] && y"),
        Instruction::Cmd(Arguments::Shell("[ -f x ] && y".into()))
    );
    assert_eq!(
        one("ARG A B=2"),
        Instruction::Arg(vec![("A".into(), None), ("B".into(), Some("2".into()))])
    );
    assert_eq!(
        one("VOLUME /a /b"),
        Instruction::Volume(vec!["/a".into(), "/b".into()])
    );
    assert_eq!(
        one("ONBUILD COPY . /"),
        Instruction::OnBuild("COPY . /".into())
    );
    assert_eq!(one("HEALTHCHECK NONE"), Instruction::Healthcheck(None));
    let Instruction::Healthcheck(Some(check)) =
        one("HEALTHCHECK --interval=1m30s --retries=3 CMD curl x")
    else {
        panic!()
    };
    assert_eq!(
        (check.interval, check.retries, check.test[0].as_str()),
        (90_000_000_000, 3, "CMD-SHELL")
    );
    let Instruction::Copy(copy) = one("COPY --from=build --chown=1:2 --chmod=755 a b c/") else {
        panic!()
    };
    assert_eq!(
        (
            copy.from.as_deref(),
            copy.owner.as_deref(),
            copy.mode.as_deref()
        ),
        (Some("build"), Some("1:2"), Some("755"))
    );
    let Instruction::Run(run) =
        one("RUN --mount=type=cache,target=/c,sharing=locked --network=none make --jobs=2")
    else {
        panic!()
    };
    assert_eq!(
        (run.mounts[0].kind.as_str(), run.network.as_deref()),
        ("cache", Some("none"))
    );
    assert_eq!(run.arguments, Arguments::Shell("make --jobs=2".into()));
}

#[test]
fn stages_know_what_they_need() {
    let text = "ARG V=1\nFROM a:$V AS One\nFROM one as two\nFROM scratch AS unused\nFROM scratch\nCOPY --from=TWO /x /\nRUN --mount=type=bind,from=0,target=/m true";
    let file = Dockerfile::parse("D", text).unwrap();
    assert_eq!(file.arguments, [("V".to_string(), Some("1".to_string()))]);
    assert_eq!(file.stage("Two"), Some(1));
    assert_eq!(file.stage("3"), Some(3));
    assert_eq!(file.stage("none"), None);
    assert_eq!(file.needed(3), [0, 1, 3]);
    assert_eq!(file.needed(0), [0]);
}

#[test]
fn refusals_say_where_and_what_was_expected() {
    refused(
        "",
        "D:1:1: expected FROM, but there is no instruction that begins a stage",
    );
    refused(
        "RUN x",
        "D:1:1: expected FROM or ARG before any other instruction",
    );
    refused(
        "FROM a\nRUM x",
        "D:2:1: unknown instruction RUM: did you mean RUN?",
    );
    refused(
        "FROM a\n  COPY  x",
        "D:2:9: expected at least one source and a destination",
    );
    refused(
        "FROM a\nCOPY --form=b x y",
        "D:2:6: flag --form is not supported: expected --from, --chown, --chmod, --exclude, --link",
    );
    refused("FROM a b", "D:1:8: expected AS NAME");
    refused(
        "FROM a AS 1x",
        "D:1:11: expected a name that begins with a letter, not \"1x\"",
    );
    refused(
        "FROM a AS x\nFROM b AS X",
        "D:2:1: expected a new name: another stage has this one",
    );
    refused(
        "FROM a\nENV a=1 \\\n  b",
        "D:3:3: expected NAME=VALUE, not b",
    );
    refused(
        "FROM a\nRUN --mount=type=ssh x",
        "D:2:5: mount type \"ssh\" is not supported: expected bind, cache, tmpfs or secret",
    );
    refused(
        "FROM a\nRUN --security=insecure x",
        "D:2:5: flag --security is not supported: expected --mount, --network",
    );
    refused(
        "FROM a\nRUN <<EOF\nx",
        "D:2:5: expected a line \"EOF\" that ends the here-document",
    );
    refused(
        "FROM a\nSHELL sh",
        "D:2:7: expected a JSON list, as in [\"/bin/sh\", \"-c\"]",
    );
    refused(
        "FROM a\nHEALTHCHECK --interval=x CMD y",
        "D:2:1: expected a time for --interval, as in 30s or 1m30s, not \"x\"",
    );
    refused(
        "FROM a\nONBUILD FROM b",
        "D:2:9: FROM may not stand after ONBUILD",
    );
    refused(
        "# escape=x\nFROM a",
        "D:1:1: expected escape=\\ or escape=`, not \"x\"",
    );
    refused(
        "FROM a\nARG 1=2",
        "D:2:5: expected the name of a variable, not \"1\"",
    );
    refused(
        "FROM a\nUSER a b",
        "D:2:8: expected nothing after a user, as in name, uid or uid:gid",
    );
}

proptest! {
    #[test]
    fn any_text_is_answered(text in "(FROM|RUN|COPY|ENV|ARG|#|<<E|\\\\|\n| |\"|'|=|a|\\[|\\]|\\$|\\{|é){0,60}") {
        let _ = Dockerfile::parse("D", &text);
        let _ = expand(&text, '\\', &|_| Some(text.clone()));
    }
}
