//! Parsers for what the kernel says of a process below `/proc`. Pure; bytes in, values out.

/// The path of a process's control group in `/proc/PID/cgroup` (`cgroups(7)`), as systemd uses it; `None` if there is
/// none, or if the process is outside of what this one can see.
///
/// With version 2, and in the hybrid layout, that is the entry of hierarchy 0; a machine of version 1 alone may have an
/// empty one besides, and systemd's own hierarchy has a name.
#[must_use]
pub fn cgroup(text: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(text).ok()?;
    let of = |wanted: &str| {
        text.lines().find_map(|line| {
            let mut parts = line.splitn(3, ':');
            let (number, controllers, path) = (parts.next()?, parts.next()?, parts.next()?);
            let unified = wanted.is_empty() && number == "0" && controllers.is_empty();
            let named = !wanted.is_empty() && controllers == wanted;
            (unified || named).then_some(path)
        })
    };
    let path = match (of(""), of("name=systemd")) {
        (Some(unified), _) if unified != "/" => unified,
        (unified, named) => named.or(unified)?,
    };
    // A group that was removed under the process is no place any more, and `/..` is outside of our namespace.
    let inside = path.starts_with('/') && !path.split('/').any(|part| part == "..") && !path.ends_with(" (deleted)");
    inside.then_some(path)
}

/// When a process started, in clock ticks after boot: the 22nd field of `/proc/PID/stat` (`proc_pid_stat(5)`).
///
/// The second field is the name of the program in brackets, which may contain anything, brackets too.
#[must_use]
pub fn start_time(text: &[u8]) -> Option<u64> {
    let end_of_name = text.iter().rposition(|byte| *byte == b')')?;
    let rest = std::str::from_utf8(text.get(end_of_name + 1..)?).ok()?;
    rest.split_ascii_whitespace().nth(START_AFTER_NAME)?.parse().ok()
}

/// Where field 22 stands among those after the second.
const START_AFTER_NAME: usize = 19;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_group_is_found_in_every_layout() {
        for (text, path) in [
            ("0::/system.slice/a.service\n", Some("/system.slice/a.service")),
            ("2:cpu:/x\n1:name=systemd:/system.slice/a.service\n0::/\n", Some("/system.slice/a.service")),
            ("2:cpu:/x\n1:name=systemd:/v1\n0::/system.slice/a.service\n", Some("/system.slice/a.service")),
            ("3:cpu,cpuacct:/x\n1:name=systemd:/init.scope\n", Some("/init.scope")),
            ("0::/\n", Some("/")),
            ("0::/a:b.service\n", Some("/a:b.service")),
            ("0::/../../other\n", None),
            ("0::/system.slice/a.service (deleted)\n", None),
            ("5:cpu:/x\n", None),
            ("garbage", None),
            ("", None),
            ("0::relative\n", None),
        ] {
            assert_eq!(cgroup(text.as_bytes()), path, "{text:?}");
        }
        assert_eq!(cgroup(b"0::/\xff\n"), None);
    }

    #[test]
    fn the_start_is_found_after_any_name() {
        let stat = |name: &str| {
            format!(
                "1234 ({name}) S 1 1234 1234 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 987654 1000 200 18446744073709551615"
            )
        };
        for name in ["cat", "a b", "x) S 1 2 3 4", "", "((", "))"] {
            assert_eq!(start_time(stat(name).as_bytes()), Some(987_654), "{name}");
        }
        for bad in ["", "1 cat S", "1 (cat) S 1", "1 (cat)"] {
            assert_eq!(start_time(bad.as_bytes()), None, "{bad}");
        }
        let own = std::fs::read("/proc/self/stat").unwrap();
        assert!(start_time(&own).is_some_and(|start| start > 0));
    }

    proptest! {
        #[test]
        fn nothing_makes_them_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = (cgroup(&bytes), start_time(&bytes));
        }
    }
}
