//! Profiles that others wrote: Docker's JSON, and the OCI specification's types.

#[cfg(feature = "json")]
mod json {
    use ampoule_privileges::Error;
    use ampoule_privileges::capabilities::{Capability, CapabilitySet};
    use ampoule_privileges::seccomp::{Action, Arch, Filter, Host, KernelVersion, Template};
    use proptest::prelude::*;
    use proptest::test_runner::{Config, TestRunner};

    const PROFILE: &str = r#"{
        "defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 38,
        "archMap": [
            {"architecture": "SCMP_ARCH_X86_64", "subArchitectures": ["SCMP_ARCH_X86", "SCMP_ARCH_X32"]},
            {"architecture": "SCMP_ARCH_S390X", "subArchitectures": ["SCMP_ARCH_S390"]}
        ],
        "flags": ["SECCOMP_FILTER_FLAG_LOG"],
        "syscalls": [
            {"names": ["read", "a_call_of_the_future"], "action": "SCMP_ACT_ALLOW", "args": null},
            {"name": "write", "action": "SCMP_ACT_ALLOW", "args": [
                {"index": 0, "value": 1, "op": "SCMP_CMP_EQ"}, {"index": 0, "value": 2, "op": "SCMP_CMP_EQ"}]},
            {"names": ["mount"], "action": "SCMP_ACT_ALLOW", "includes": {"caps": ["CAP_SYS_ADMIN"], "minKernel": "5.0"}},
            {"names": ["clone"], "action": "SCMP_ACT_ALLOW", "excludes": {"caps": ["CAP_SYS_ADMIN"], "arches": ["s390"]},
                "args": [{"index": 0, "value": 2114060288, "valueTwo": 0, "op": "SCMP_CMP_MASKED_EQ"}]},
            {"names": ["swapcontext"], "action": "SCMP_ACT_ALLOW", "includes": {"arches": ["ppc64le"]}},
            {"names": ["kill"], "action": "SCMP_ACT_TRACE", "errnoRet": 9}
        ]
    }"#;

    fn filter(capabilities: CapabilitySet, kernel: &str) -> Filter {
        let host = Host {
            arch: Arch::X86_64,
            capabilities,
            kernel: kernel.parse().unwrap(),
        };
        Template::from_json(PROFILE)
            .unwrap()
            .resolve(&host)
            .compile()
            .unwrap()
    }

    fn action(filter: &Filter, arch: Arch, name: &str, first: u64) -> Action {
        filter
            .explain(arch, name, [first, 0, 0, 0, 0, 0])
            .unwrap()
            .action
    }

    #[test]
    fn a_profile_of_docker_s_means_what_docker_means() {
        let plain = filter(CapabilitySet::DOCKER, "6.1");
        assert_eq!(plain.skipped(), ["a_call_of_the_future"]);
        assert!(plain.flags().log);
        assert_eq!(action(&plain, Arch::X86, "read", 0), Action::Allow);
        assert_eq!(action(&plain, Arch::X32, "read", 0), Action::Allow);
        // Two conditions on one argument are alternatives there.
        for (descriptor, expected) in [
            (0, Action::Errno(38)),
            (1, Action::Allow),
            (2, Action::Allow),
        ] {
            assert_eq!(action(&plain, Arch::X86_64, "write", descriptor), expected);
        }
        assert_eq!(action(&plain, Arch::X86_64, "mount", 0), Action::Errno(38));
        assert_eq!(action(&plain, Arch::X86_64, "clone", 0x11), Action::Allow);
        assert_eq!(
            action(&plain, Arch::X86_64, "clone", 0x1000_0000),
            Action::Errno(38)
        );
        assert_eq!(action(&plain, Arch::X86_64, "kill", 0), Action::Trace(9));

        let admin = CapabilitySet::DOCKER | [Capability::SysAdmin].into();
        assert_eq!(
            action(&filter(admin, "6.1"), Arch::X86_64, "mount", 0),
            Action::Allow
        );
        assert_eq!(
            action(&filter(admin, "4.19"), Arch::X86_64, "mount", 0),
            Action::Errno(38)
        );
        assert_eq!(
            action(&filter(admin, "6.1"), Arch::X86_64, "clone", 0x11),
            Action::Errno(38)
        );
    }

    #[test]
    fn a_damaged_profile_is_an_error_or_a_filter_and_never_a_panic() {
        let edit = (
            0..PROFILE.len(),
            prop_oneof![any::<u8>(), prop::sample::select(b"0,[]{}\"9".to_vec())],
        );
        let edits = prop::collection::vec(edit, 1..4);
        TestRunner::new(Config {
            cases: 3000,
            failure_persistence: None,
            ..Config::default()
        })
        .run(&edits, |edits| {
            let mut bytes = PROFILE.as_bytes().to_vec();
            edits.into_iter().for_each(|(at, byte)| bytes[at] = byte);
            let Ok(template) = Template::from_json(&String::from_utf8_lossy(&bytes)) else {
                return Ok(());
            };
            let host = Host {
                arch: Arch::X86_64,
                capabilities: CapabilitySet::ALL,
                kernel: KernelVersion { major: 6, minor: 1 },
            };
            // What is not refused is a program that ends.
            if let Ok(filter) = template.resolve(&host).compile() {
                filter.decide(Arch::X86_64, 1, [1; 6]);
                prop_assert!(filter.program().instructions().len() <= 4096);
            }
            Ok(())
        })
        .unwrap();
    }

    #[test]
    fn what_has_no_meaning_is_refused_by_name() {
        fn check(old: &str, new: &str, expected: &str) {
            assert!(PROFILE.contains(old), "{old}");
            let error = Template::from_json(&PROFILE.replace(old, new)).unwrap_err();
            assert!(error.to_string().contains(expected), "{error}");
        }
        check("SCMP_ACT_TRACE", "SCMP_ACT_TRACK", "SCMP_ACT_TRACK");
        check("SCMP_CMP_MASKED_EQ", "SCMP_CMP_MASK", "SCMP_CMP_MASK");
        check("CAP_SYS_ADMIN", "CAP_SYS_ADMINN", "did you mean SYS_ADMIN?");
        check("FLAG_LOG", "FLAG_LOGS", "SECCOMP_FILTER_FLAG_LOGS");
        check("\"5.0\"", "\"five\"", "five");
        check(
            "\"name\": \"write\"",
            "\"names\": [\"write\"], \"name\": \"write\"",
            "both name and names",
        );
        check("\"errnoRet\": 9", "\"errnoRet\": 70000", "70000");
        check(
            "\"defaultErrnoRet\": 38",
            "\"defaultErrnoRet\": 4096",
            "4096",
        );
        check(
            "\"index\": 0, \"value\": 1,",
            "\"index\": 0, \"value\": -1,",
            "line 11",
        );
        let error = Template::from_json("{").unwrap_err();
        assert!(matches!(error, Error::Json(_)));
    }
}

#[cfg(feature = "oci")]
mod oci {
    use ampoule_privileges::seccomp::{Action, Arch, Profile};
    use oci_spec::runtime::LinuxSeccomp;

    fn profile(json: &str) -> Result<Profile, ampoule_privileges::Error> {
        let seccomp: LinuxSeccomp = serde_json::from_str(json).unwrap();
        Profile::try_from(&seccomp)
    }

    #[test]
    fn every_action_operator_arch_and_flag_is_carried_over() {
        let profile = profile(
            r#"{
            "defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 5,
            "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32", "SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM"],
            "flags": ["SECCOMP_FILTER_FLAG_LOG", "SECCOMP_FILTER_FLAG_TSYNC", "SECCOMP_FILTER_FLAG_SPEC_ALLOW",
                "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"],
            "syscalls": [
                {"names": ["dup"], "action": "SCMP_ACT_KILL"},
                {"names": ["dup2"], "action": "SCMP_ACT_KILL_THREAD"},
                {"names": ["dup3"], "action": "SCMP_ACT_KILL_PROCESS"},
                {"names": ["pipe2"], "action": "SCMP_ACT_TRAP"},
                {"names": ["kill"], "action": "SCMP_ACT_ERRNO", "errnoRet": 7},
                {"names": ["tkill"], "action": "SCMP_ACT_TRACE", "errnoRet": 8},
                {"names": ["getpid"], "action": "SCMP_ACT_LOG"},
                {"names": ["mount"], "action": "SCMP_ACT_NOTIFY"},
                {"names": ["chdir"], "action": "SCMP_ACT_ERRNO"},
                {"names": ["read"], "action": "SCMP_ACT_ALLOW", "args": [{"index": 0, "value": 3, "op": "SCMP_CMP_NE"}]},
                {"names": ["pread64"], "action": "SCMP_ACT_ALLOW", "args": [{"index": 0, "value": 3, "op": "SCMP_CMP_LT"}]},
                {"names": ["readv"], "action": "SCMP_ACT_ALLOW", "args": [{"index": 0, "value": 3, "op": "SCMP_CMP_LE"}]},
                {"names": ["write"], "action": "SCMP_ACT_ALLOW", "args": [{"index": 0, "value": 3, "op": "SCMP_CMP_EQ"}]},
                {"names": ["pwrite64"], "action": "SCMP_ACT_ALLOW", "args": [{"index": 0, "value": 3, "op": "SCMP_CMP_GE"}]},
                {"names": ["writev"], "action": "SCMP_ACT_ALLOW", "args": [{"index": 0, "value": 3, "op": "SCMP_CMP_GT"}]},
                {"names": ["fsync"], "action": "SCMP_ACT_ALLOW", "args": [
                    {"index": 0, "value": 6, "valueTwo": 2, "op": "SCMP_CMP_MASKED_EQ"}]}
            ]}"#,
        )
        .unwrap();
        let filter = profile.compile().unwrap();
        // Those five, and the one that a filter without a listener could not have.
        assert_eq!(filter.flags().bits(), 0b11_1111);
        for arch in Arch::ALL {
            let action = |name, first| {
                filter
                    .explain(arch, name, [first, 0, 0, 0, 0, 0])
                    .unwrap()
                    .action
            };
            assert_eq!(action("dup", 0), Action::KillThread, "{arch}");
            assert_eq!(action("dup3", 0), Action::KillProcess, "{arch}");
            assert_eq!(action("pipe2", 0), Action::Trap, "{arch}");
            assert_eq!(action("kill", 0), Action::Errno(7), "{arch}");
            assert_eq!(action("tkill", 0), Action::Trace(8), "{arch}");
            assert_eq!(action("getpid", 0), Action::Log, "{arch}");
            assert_eq!(action("mount", 0), Action::Notify, "{arch}");
            assert_eq!(action("chdir", 0), Action::Errno(1), "{arch}");
            assert_eq!(action("openat", 0), Action::Errno(5), "{arch}");
            // A number above all that are named; x32 has old calls at its end.
            if arch != Arch::X32 {
                assert_eq!(action("openat2", 0), Action::Errno(38), "{arch}");
            }
            let allowed = |name| [2, 3, 4].map(|first| action(name, first) == Action::Allow);
            assert_eq!(allowed("read"), [true, false, true], "{arch}");
            assert_eq!(allowed("pread64"), [true, false, false], "{arch}");
            assert_eq!(allowed("readv"), [true, true, false], "{arch}");
            assert_eq!(allowed("write"), [false, true, false], "{arch}");
            assert_eq!(allowed("pwrite64"), [false, true, true], "{arch}");
            assert_eq!(allowed("writev"), [false, false, true], "{arch}");
            assert_eq!(allowed("fsync"), [true, true, false], "{arch}");
        }
    }

    #[test]
    fn an_architecture_that_is_not_known_is_named() {
        let json = r#"{"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_MIPS"]}"#;
        assert!(
            profile(json)
                .unwrap_err()
                .to_string()
                .contains("SCMP_ARCH_MIPS")
        );
    }

    #[test]
    fn an_argument_that_no_call_has_is_refused() {
        let json = r#"{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["read"], "action": "SCMP_ACT_KILL",
            "args": [{"index": 6, "value": 0, "op": "SCMP_CMP_EQ"}]}]}"#;
        let error = profile(json).unwrap().compile().unwrap_err();
        assert!(error.to_string().contains("argument 6"), "{error}");
    }
}
