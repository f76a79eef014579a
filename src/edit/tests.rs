//! Edits of whole files: what each operation does, leaves and refuses, and what must hold for any of them.

use proptest::prelude::*;

use super::*;

fn set(name: &str, to: &str) -> Operation {
    Operation::Set {
        name: name.into(),
        to: to.into(),
        instead_of: None,
        absent: Absent::Add,
        which: Which::Only,
    }
}

fn uncomment(text: &str) -> Operation {
    Operation::Uncomment { text: text.into(), absent: Absent::Refuse, which: Which::Only }
}

fn comment(text: &str) -> Operation {
    Operation::Comment { text: text.into(), absent: Absent::Refuse, which: Which::Only }
}

fn replace(text: &str, with: &str) -> Operation {
    Operation::Replace { text: text.into(), with: with.into(), absent: Absent::Refuse, which: Which::Only }
}

fn flag(flag: &str) -> Operation {
    Operation::Drop { flag: flag.into() }
}

fn block(text: &str, unless: Option<&str>) -> Operation {
    Operation::Block { name: "b".into(), text: text.into(), unless: unless.map(str::to_owned) }
}

/// Made, and nothing more to make the second time.
#[track_caller]
fn becomes(syntax: Syntax, before: &str, operation: &Operation, after: &str) {
    let one = std::slice::from_ref(operation);
    let edited = edit(before.as_bytes(), syntax, one).unwrap_or_else(|why| panic!("{why}: {before}"));
    assert_eq!(String::from_utf8_lossy(&edited.text), after, "{:?}", edited.notes);
    assert_eq!(apply(before.as_bytes(), &edited.hunks).as_deref(), Ok(after.as_bytes()));
    let again = edit(after.as_bytes(), syntax, one).unwrap_or_else(|why| panic!("again: {why}: {after}"));
    assert_eq!(
        (again.hunks, again.text),
        (Vec::new(), after.as_bytes().to_vec()),
        "again: {:?}",
        again.notes
    );
}

#[track_caller]
fn stays(syntax: Syntax, text: &str, operation: &Operation) {
    becomes(syntax, text, operation, text);
}

#[track_caller]
fn refuses(syntax: Syntax, text: &str, operation: &Operation, line: impl Into<Option<usize>>, words: &str) {
    match edit(text.as_bytes(), syntax, std::slice::from_ref(operation)) {
        Err(refusal) => {
            assert_eq!(refusal.line, line.into(), "{refusal}");
            assert!(refusal.to_string().contains(words), "{refusal}");
        }
        Ok(edited) => panic!("{:?}: {}", edited.notes, String::from_utf8_lossy(&edited.text)),
    }
}

use Syntax::{Apache, Ini, Php};

#[test]
fn a_php_setting_is_changed_where_it_is_set() {
    let zero = set("$wgJobRunRate", "0");
    becomes(Php, "<?php\n$wgJobRunRate = 1; # jobs\n", &zero, "<?php\n$wgJobRunRate = 0; # jobs\n");
    becomes(Php, "<?php\n\t$wgJobRunRate=0.01;$a = 2;", &zero, "<?php\n\t$wgJobRunRate=0;$a = 2;");
    becomes(Php, "<?php\n$wgJobRunRate = /* all */ 1;\n", &zero, "<?php\n$wgJobRunRate = /* all */ 0;\n");
    stays(Php, "<?php\n$wgJobRunRate   =   0 ;\n", &zero);
    stays(Php, "<?php\n$wgMiserMode = TRUE;\n", &set("$wgMiserMode", "true"));
    stays(Php, "<?php\n$a = \"b\";\n", &set("$a", "'b'"));
    becomes(Php, "<?php\n$a = \"$b\";\n", &set("$a", "'b'"), "<?php\n$a = 'b';\n");
    let rights = set("$wgGroupPermissions['*']['edit']", "false");
    becomes(
        Php,
        "<?php\n$wgGroupPermissions[\"*\"]['edit'] = true;\n$wgGroupPermissions['*']['read'] = true;\n",
        &rights,
        "<?php\n$wgGroupPermissions[\"*\"]['edit'] = false;\n$wgGroupPermissions['*']['read'] = true;\n",
    );
}

#[test]
fn what_is_no_setting_of_it_is_left_alone() {
    let zero = set("$wgJobRunRate", "0");
    for other in [
        "$wgJobRunRate == 1;",
        "$wgJobRunRateX = 1;",
        "// $wgJobRunRate = 1;",
        "$s = '$wgJobRunRate = 1;';",
        "$s = \"{$a['$wgJobRunRate = 1;']}\";",
        "$s = <<<END\n$wgJobRunRate = 1;\nENDING\n  END;",
        "$s = <<<'END'\n\"'\n$wgJobRunRate = 1;\nEND;",
        "/* $wgJobRunRate = 1;\n$wgJobRunRate = 1; */",
        "#[Attribute]\nfunction f() {}",
        "f( [ $wgJobRunRate => 1 ] );",
        "?> $wgJobRunRate = 1; <?php ;",
    ] {
        let before = format!("<?php\n{other}\n");
        becomes(Php, &before, &zero, &format!("{before}$wgJobRunRate = 0;\n"));
    }
}

#[test]
fn where_two_lines_could_be_meant_it_refuses_or_does_as_told() {
    let zero = set("$a", "0");
    let twice = "<?php\n$a = 1;\n$b = 1;\n$a = 2;\n";
    refuses(Php, twice, &zero, 2, "more than once: lines 2 and 4");
    let told = |which| Operation::Set {
        name: "$a".into(),
        to: "0".into(),
        instead_of: None,
        absent: Absent::Add,
        which,
    };
    becomes(Php, twice, &told(Which::Last), "<?php\n$a = 1;\n$b = 1;\n$a = 0;\n");
    becomes(Php, twice, &told(Which::First), "<?php\n$a = 0;\n$b = 1;\n$a = 2;\n");
    becomes(Php, twice, &told(Which::Every), "<?php\n$a = 0;\n$b = 1;\n$a = 0;\n");
    stays(Php, "<?php\n$a = 0;\n$a = 0;\n", &zero);
    refuses(Php, "<?php\nif ( $x ) {\n  $a = 1;\n}\n", &zero, 3, "under a condition");
    refuses(Php, "<?php\nif ( $x ) $a = 1;\n", &zero, 2, "under a condition");
    refuses(Php, "<?php\nif ( $x ):\n$a = 1;\nendif;\n", &zero, 3, "under a condition");
    refuses(Php, "<?php\n$a = 1;\n$a += 1;\n", &zero, 3, "on top of");
    refuses(Php, "<?php\n$a = 1;\n$a++;\n", &zero, 3, "on top of");
    refuses(Php, "<?php\n$a = 1;\nif ( $x ) { $a = 2; }\n", &told(Which::Last), 2, "under a condition");
    refuses(Php, "<?php\n$a = [\n 1,\n];\n", &zero, 2, "several lines");
}

#[test]
fn what_is_not_set_is_uncommented_or_added_where_it_counts() {
    let no = set("$wgEnableUploads", "false");
    for commented in [
        "# $wgEnableUploads = false;",
        "//$wgEnableUploads=false; # costly",
        "/* $wgEnableUploads = FALSE; */",
        "  ### $wgEnableUploads = false;",
    ] {
        let before = format!("<?php\n{commented}\n$a = 1;\n");
        let edited = edit(before.as_bytes(), Php, std::slice::from_ref(&no)).unwrap();
        let text = String::from_utf8(edited.text.clone()).unwrap();
        let line = text.lines().nth(1).unwrap();
        assert!(line.trim_start().starts_with("$wgEnableUploads") && text.lines().count() == 3, "{text}");
        assert_eq!(edit(&edited.text, Php, std::slice::from_ref(&no)).unwrap().hunks, []);
    }
    let added = "$wgEnableUploads = false;\n";
    for (before, from) in [
        ("<?php\n# $wgEnableUploads = true;\n", ""),
        ("<?php\n# $wgEnableUploads = false; or so\n", ""),
        ("<?php\nif ( $x ) {\n# $wgEnableUploads = false;\n}\n", ""),
        ("<?php\n/*\n$wgEnableUploads = false;\n*/\n", ""),
        ("<?php\n$a = 1;\n?>\n", "?>\n"),
        ("<?php\nreturn;\n# $wgEnableUploads = false;\n", "return;\n# $wgEnableUploads = false;\n"),
        ("<?php\nif ( !defined( 'MEDIAWIKI' ) ) {\n\texit;\n}\n", ""),
        ("<?php\nif ( !defined( 'MEDIAWIKI' ) ) exit;\n", ""),
        ("<?php\nif ( $x ):\nexit;\nendif;\n", ""),
    ] {
        let kept = before.strip_suffix(from).unwrap();
        becomes(Php, before, &no, &format!("{kept}{added}{from}"));
    }
    // The last line has no end, and keeps none.
    becomes(Php, "<?php\r\n$a = 1;", &no, "<?php\r\n$a = 1;\r\n$wgEnableUploads = false;");
    refuses(Php, "<?php\n$a = 1; ?>\n", &no, 2, "in the middle of this line");
    refuses(Php, "<?php\n$a = 1;\n?>\n<p>\n", &no, 3, "outside of PHP follows");
    refuses(Php, "<?php\n$a = 1\n", &no, 2, "no `;`");
    refuses(Php, "<p>\n", &no, None, "no `<?php`");
    let leave = Operation::Set {
        name: "$a".into(),
        to: "1".into(),
        instead_of: None,
        absent: Absent::Leave,
        which: Which::Only,
    };
    stays(Php, "<?php\n# $a = 1;\n", &leave);
    let refuse = Operation::Set {
        name: "$a".into(),
        to: "1".into(),
        instead_of: None,
        absent: Absent::Refuse,
        which: Which::Only,
    };
    refuses(Php, "<?php\n", &refuse, None, "is not set");
}

#[test]
fn a_value_that_somebody_chose_is_left() {
    let cache = |list: &[&str]| Operation::Set {
        name: "$wgMainCacheType".into(),
        to: "CACHE_ACCEL".into(),
        instead_of: Some(list.iter().map(|known| (*known).to_owned()).collect()),
        absent: Absent::Add,
        which: Which::Only,
    };
    becomes(
        Php,
        "<?php\n$wgMainCacheType = CACHE_NONE;\n",
        &cache(&["CACHE_NONE"]),
        "<?php\n$wgMainCacheType = CACHE_ACCEL;\n",
    );
    becomes(Php, "<?php\n", &cache(&[]), "<?php\n$wgMainCacheType = CACHE_ACCEL;\n");
    let redis = "<?php\n$wgMainCacheType = 'redis';\n";
    stays(Php, redis, &cache(&["CACHE_NONE"]));
    let edited = edit(redis.as_bytes(), Php, &[cache(&["CACHE_NONE"])]).unwrap();
    assert!(
        matches!(&edited.notes[..], [Note::Left(told)] if told.contains("line 2") && !told.contains("redis")),
        "{:?}",
        edited.notes
    );
}

#[test]
fn php_that_cannot_be_read_is_not_edited() {
    let zero = set("$a", "0");
    for (text, line, words) in [
        ("<?php\n$b = 'x;\n$a = 1;\n", 2, "text that begins here has no end"),
        ("<?php\n/* $a = 1;\n", 2, "comment that begins here has no end"),
        ("<?php\n$b = <<<X\n$a = 1;\n", 2, "text that begins here has no end"),
        ("<?php\nif ( $b ) {\n", 2, "never closed"),
        ("<?php\n$b = [ 1 );\n", 2, "another sign"),
        ("<?php\n}\n", 2, "never opened"),
    ] {
        refuses(Php, text, &zero, line, words);
    }
    refuses(Php, "<?php\0", &zero, None, "NUL");
}

#[test]
fn lines_are_uncommented_whatever_their_sign() {
    let on = uncomment("$wgEnableUploads = false;");
    for (line, after) in [
        ("# $wgEnableUploads = false;", "$wgEnableUploads = false;"),
        ("\t//$wgEnableUploads = false;", "\t$wgEnableUploads = false;"),
        ("/* $wgEnableUploads = false; */", "$wgEnableUploads = false;"),
        ("## # $wgEnableUploads=false;  # costly", "$wgEnableUploads=false;  # costly"),
    ] {
        becomes(Php, &format!("<?php\n{line}\n$a = 1;\n"), &on, &format!("<?php\n{after}\n$a = 1;\n"));
    }
    stays(Php, "<?php\n$wgEnableUploads = false;\n# $wgEnableUploads = false;\n", &on);
    refuses(Php, "<?php\n", &on, None, "neither commented out nor in force");
    refuses(Php, "<?php\n#$wgEnableUploads = false;\n//$wgEnableUploads = false;\n", &on, 2, "lines 2 and 3");
    refuses(Php, "<?php\n/*\n * $wgEnableUploads = false;\n */\n", &on, 3, "several lines");
    refuses(
        Php,
        "<?php\n# $wgEnableUploads = false;\n$wgEnableUploads = true;\n",
        &on,
        3,
        "set here as well",
    );
    refuses(Php, "<?php\n# }\n", &uncomment("}"), None, "neither commented out");
    becomes(
        Apache,
        "#MaxRequestWorkers   5\r\n",
        &uncomment("MaxRequestWorkers 5"),
        "MaxRequestWorkers   5\r\n",
    );
    becomes(Ini, "; a = b\n", &uncomment("a=b"), "a = b\n");
}

#[test]
fn lines_are_commented_out_when_they_stand_alone() {
    let off = comment("wfLoadExtension( 'Cite' );");
    becomes(
        Php,
        "<?php\n  wfLoadExtension('Cite'); // x\n",
        &off,
        "<?php\n  # wfLoadExtension('Cite'); // x\n",
    );
    stays(Php, "<?php\n// wfLoadExtension( \"Cite\" );\n", &off);
    refuses(Php, "<?php\n$a = 1; wfLoadExtension( 'Cite' );\n", &off, 2, "shares its line");
    refuses(Php, "<?php\nwfLoadExtension( 'Cite' ); $a = 1;\n", &off, 2, "shares its line");
    refuses(Php, "<?php\nwfLoadExtension(\n'Cite' );\n", &off, 2, "shares its line");
    refuses(Php, "<?php\n", &off, None, "not in force");
    becomes(Apache, "KeepAlive  On\nX 1", &comment("keepalive On"), "# KeepAlive  On\nX 1");
    becomes(Ini, "; c\na = b\n", &comment("a = b"), "; c\n; a = b\n");
}

#[test]
fn a_text_is_replaced_in_force_only() {
    let other = replace("'p:' . $host", "$host");
    becomes(
        Php,
        "<?php\n# 'p:' . $host\n$h = 'p:' . $host;\n",
        &other,
        "<?php\n# 'p:' . $host\n$h = $host;\n",
    );
    refuses(Php, "<?php\n$h = 'p:' . $host;\n$i = 'p:' . $host;\n", &other, 2, "lines 2 and 3");
    refuses(Php, "<?php\n# 'p:' . $host\n", &other, None, "nowhere in force");
    becomes(Php, "<?php\n$a = f();\n", &replace("f()", "g( f() )"), "<?php\n$a = g( f() );\n");
}

#[test]
fn a_flag_is_taken_out_of_every_list() {
    let drop = flag("DBO_PERSISTENT");
    for (before, after) in [
        ("DBO_DEFAULT | DBO_PERSISTENT", "DBO_DEFAULT"),
        ("DBO_DEFAULT|DBO_PERSISTENT|DBO_SSL", "DBO_DEFAULT|DBO_SSL"),
        ("DBO_PERSISTENT | DBO_DEFAULT", "DBO_DEFAULT"),
        ("DBO_PERSISTENT", "0"),
        ("\\Wikimedia\\Rdbms\\Database::DBO_PERSISTENT | DBO_SSL", "DBO_SSL"),
        ("( $ssl ? DBO_SSL : 0 ) | DBO_PERSISTENT", "( $ssl ? DBO_SSL : 0 )"),
    ] {
        let text = |flags: &str| {
            format!(
                "<?php\n$s = [ [ 'flags' => {flags}, 'load' => 1 ], [ 'flags' => {flags} ] ]; # DBO_PERSISTENT\n$t = 'DBO_PERSISTENT';\n"
            )
        };
        becomes(Php, &text(before), &drop, &text(after));
    }
    stays(Php, "<?php\n$a = DBO_PERSISTENTLY;\n", &drop);
    becomes(Php, "<?php\n$f |= DBO_PERSISTENT;\n", &drop, "<?php\n$f |= 0;\n");
    for odd in [
        "$f & DBO_PERSISTENT",
        "~DBO_PERSISTENT",
        "$a || DBO_PERSISTENT",
        "DBO_PERSISTENT | 1 & 2 . DBO_PERSISTENT",
        "1 + DBO_PERSISTENT",
    ] {
        refuses(Php, &format!("<?php\n\n$x = {odd};\n"), &drop, 3, "no plain list of flags");
    }
    refuses(Php, "<?php\n$x = A # why\n | DBO_PERSISTENT;\n", &drop, 3, "a comment stands between");
    refuses(Apache, "X 1\n", &drop, None, "a thing of PHP");
}

#[test]
fn a_block_is_added_renewed_and_left() {
    let new = block("f();\nif ( $a ) {\n\tg();\n}\n", Some("closeAll"));
    let lines = "# BEGIN runbook b\nf();\nif ( $a ) {\n\tg();\n}\n# END runbook b\n";
    becomes(Php, "<?php\n$a = 1;\n", &new, &format!("<?php\n$a = 1;\n{lines}"));
    becomes(Php, "<?php\n$a = 1;\n?>", &new, &format!("<?php\n$a = 1;\n{lines}?>"));
    becomes(Php, "<?php\r\n", &new, &format!("<?php\r\n{}", lines.replace('\n', "\r\n")));
    let old = "<?php\n# BEGIN runbook b\nold();\n# END runbook b\n$a = 1;\n";
    becomes(Php, old, &new, &format!("<?php\n{lines}$a = 1;\n"));
    stays(Php, "<?php\n$lb->closeAll();\n", &new);
    becomes(Php, "<?php\n# $lb->closeAll();\n", &new, &format!("<?php\n# $lb->closeAll();\n{lines}"));
    refuses(Php, "<?php\n# BEGIN runbook b\n", &new, 2, "not one pair");
    refuses(Php, "<?php\n# END runbook b\n# BEGIN runbook b\n", &new, 3, "not one pair");
    refuses(Php, "<?php\n", &block("if ( $a ) {", None), 3, "once this is edited");
    becomes(
        Apache,
        "X 1",
        &block("<IfModule m>\nY 2\n</IfModule>", None),
        "X 1\n# BEGIN runbook b\n<IfModule m>\nY 2\n</IfModule>\n# END runbook b",
    );
    becomes(Ini, "; x\na=b\n", &block("c=d", None), "; x\na=b\n; BEGIN runbook b\nc=d\n; END runbook b\n");
}

#[test]
fn apache_and_ini_files() {
    let five = set("MaxRequestWorkers", "5");
    becomes(Apache, "# x\n  maxrequestworkers\t8  \nY 1\n", &five, "# x\n  maxrequestworkers\t5  \nY 1\n");
    stays(Apache, "MaxRequestWorkers 5\n", &five);
    becomes(Apache, "# MaxRequestWorkers 5\n", &five, "MaxRequestWorkers 5\n");
    becomes(Apache, "# MaxRequestWorkers 8\n", &five, "# MaxRequestWorkers 8\nMaxRequestWorkers 5\n");
    becomes(Apache, "", &five, "MaxRequestWorkers 5\n");
    refuses(
        Apache,
        "<IfModule a>\nMaxRequestWorkers 8\n</IfModule>\n<IfModule b>\nMaxRequestWorkers 8\n</IfModule>\n",
        &five,
        2,
        "lines 2 and 5",
    );
    refuses(Apache, "<IfModule a>\n", &five, 1, "has no end");
    refuses(Apache, "MaxRequestWorkers \\\n 8\n", &five, 1, "several lines");
    becomes(
        Apache,
        "# a \\\nMaxRequestWorkers 5\n",
        &five,
        "# a \\\nMaxRequestWorkers 5\nMaxRequestWorkers 5\n",
    );
    becomes(Apache, "\u{feff}MaxRequestWorkers 8\n", &five, "\u{feff}MaxRequestWorkers 5\n");
    let memory = set("memory_limit", "128M");
    becomes(Ini, "memory_limit = 256M ; much\n", &memory, "memory_limit = 128M ; much\n");
    becomes(Ini, "export memory_limit=\"a # b\" # c\n", &memory, "export memory_limit=128M # c\n");
    becomes(Ini, "a = b\n", &memory, "a = b\nmemory_limit = 128M\n");
    becomes(Ini, "a=b\n", &memory, "a=b\nmemory_limit=128M\n");
    refuses(Ini, "[www]\na = b\n", &memory, None, "sections");
}

#[test]
fn a_line_that_would_go_on_from_what_stands_before_it_is_not_added() {
    // The closing tag ends a statement, which without it goes on into the next line; so does a line after `\\`.
    for (syntax, before, operation) in
        [(Php, "<?php\nf()\n?>\n", set("$a", "0")), (Apache, "MaxB 1\n\\\n", set("MaxA", "0"))]
    {
        let refusal = edit(before.as_bytes(), syntax, &[operation]).unwrap_err();
        assert!(refusal.why.contains("beside what stands there"), "{before}: {refusal}");
    }
}

#[test]
fn bytes_of_any_encoding_and_a_mark_of_utf_8_stay() {
    let before = b"\xef\xbb\xbf<?php\r\n$n = 'caf\xe9';\n$a = 1;\r\n";
    let edited = edit(before, Php, &[set("$a", "0"), set("$n", "'tea'"), set("$b", "true")]).unwrap();
    assert_eq!(edited.text, b"\xef\xbb\xbf<?php\r\n$n = 'tea';\n$a = 0;\r\n$b = true;\r\n");
    let json = serde_json::to_string(&edited.hunks).unwrap();
    let hunks: Vec<Hunk> = serde_json::from_str(&json).unwrap();
    assert_eq!(hunks, edited.hunks);
    let back: Vec<PutBack> = hunks.iter().map(PutBack::from).collect();
    assert_eq!(put_back(&edited.text, &back).unwrap().text, before);
}

#[test]
fn an_edit_is_taken_back_wherever_its_lines_are_by_now() {
    let before = "<?php\n$s = [ 'password' => 'hunter2', 'flags' => A | B ];\n$a = 1;\n# $u = false;\n";
    let operations = [flag("B"), set("$a", "0"), set("$u", "false"), block("f();", None)];
    let edited = edit(before.as_bytes(), Php, &operations).unwrap();
    let places: Vec<PutBack> = edited.hunks.iter().map(PutBack::from).collect();
    let told = format!("{:?}{}", places, serde_json::to_string(&edited.hunks).unwrap());
    assert!(!told.contains("hunter2"), "nothing of what stands beside: {told}");
    let now = String::from_utf8(edited.text).unwrap();
    assert_eq!(put_back(now.as_bytes(), &places).unwrap().text, before.as_bytes());
    // Somebody has edited elsewhere since.
    let moved = now.replace("<?php\n", "<?php\n# new\n$c = 1;\n");
    let back = put_back(moved.as_bytes(), &places).unwrap().text;
    assert_eq!(String::from_utf8(back).unwrap(), before.replace("<?php\n", "<?php\n# new\n$c = 1;\n"));
    // Or on those lines.
    for (from, to) in [("$a = 0", "$a = 2"), ("hunter2", "hunter3"), ("f();", "g();")] {
        let refusal = put_back(now.replace(from, to).as_bytes(), &places).unwrap_err();
        assert!(refusal.why.contains("changed since"), "{refusal}");
    }
    assert!(put_back(b"", &places).is_err());
}

/// Pieces of files, from which any file is put together.
fn piece() -> impl Strategy<Value = String> {
    prop::sample::select(vec![
        "$a = 1;",
        "$a = 0;",
        "# $a = 0;",
        "// $a = 1;",
        "/* $a = 0; */",
        "$b = 'x # $a = 1;';",
        "if ( $c ) {",
        "}",
        "$a += 1;",
        "$f = A | B;",
        "$f = B;",
        "[ 'k' => B ];",
        "return;",
        "?>",
        "<?php",
        "\"",
        "'",
        "<<<X",
        "X;",
        "# BEGIN runbook b",
        "# END runbook b",
        "f();",
        "café",
        "\u{feff}",
        "  ",
        "MaxA 1",
        "#MaxA 0",
        "a = b ; c",
        "<If x>",
        "</If>",
        "\\",
    ])
    .prop_map(str::to_owned)
}

fn any_operation() -> impl Strategy<Value = Operation> {
    let absent = prop::sample::select(vec![Absent::Add, Absent::Leave, Absent::Refuse]);
    let which = prop::sample::select(vec![Which::Only, Which::First, Which::Last, Which::Every]);
    (0_usize..7, absent, which).prop_map(|(kind, absent, which)| match kind {
        0 => Operation::Set { name: "$a".into(), to: "0".into(), instead_of: None, absent, which },
        1 => Operation::Set { name: "MaxA".into(), to: "0".into(), instead_of: None, absent, which },
        2 => Operation::Uncomment { text: "$a = 0;".into(), absent, which },
        3 => Operation::Comment { text: "$a = 1;".into(), absent, which },
        4 => Operation::Replace { text: "$a".into(), with: "$z".into(), absent, which },
        5 => flag("B"),
        _ => block("f();", None),
    })
}

fn any_file() -> impl Strategy<Value = Vec<u8>> {
    let line = (prop::collection::vec(piece(), 0..3), prop::sample::select(vec!["\n", "\r\n", ""]));
    prop::collection::vec(line, 0..12).prop_map(|lines| {
        let lines = lines.into_iter().map(|(pieces, end)| format!("{}{end}", pieces.join(" ")));
        format!("<?php\n{}", lines.collect::<String>()).into_bytes()
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, ..ProptestConfig::default() })]

    /// Twice is once; the places give the text, both ways; what they do not name stays.
    #[test]
    fn any_edit_of_any_file(
        text in any_file(),
        syntax in prop::sample::select(vec![Syntax::Php, Syntax::Apache, Syntax::Ini]),
        operation in any_operation(),
    ) {
        let one = std::slice::from_ref(&operation);
        if let Ok(edited) = edit(&text, syntax, one) {
            prop_assert_eq!(apply(&text, &edited.hunks), Ok(edited.text.clone()));
            let made = edited.notes.iter().any(|note| matches!(note, Note::Made(_)));
            prop_assert!(made || edited.hunks.is_empty());
            // A second time finds all so already; only what chooses among several by order goes on to the next.
            let by_order = matches!(
                operation,
                Operation::Comment { which: Which::First | Which::Last, .. }
                    | Operation::Replace { which: Which::First | Which::Last, .. }
            );
            if !by_order {
                match edit(&edited.text, syntax, one) {
                    Ok(again) => prop_assert_eq!(again.hunks, Vec::new(), "{}", String::from_utf8_lossy(&edited.text)),
                    Err(refusal) => prop_assert!(false, "{} in {}", refusal, String::from_utf8_lossy(&edited.text)),
                }
            }
            let places: Vec<PutBack> = edited.hunks.iter().map(PutBack::from).collect();
            match put_back(&edited.text, &places) {
                Ok(back) => prop_assert_eq!(&back.text, &text),
                Err(refusal) => prop_assert!(refusal.why.contains("are one by now"), "{}", refusal),
            }
            let shown = diff("f", &text, &edited.text, &edited.hunks);
            prop_assert_eq!(shown.len() > 2, !edited.hunks.is_empty());
        }
    }

    /// Whatever it is given, it answers.
    #[test]
    fn any_bytes_are_edited_or_refused(
        bytes: Vec<u8>,
        syntax in prop::sample::select(vec![Syntax::Php, Syntax::Apache, Syntax::Ini]),
        operation in any_operation(),
    ) {
        let _ = edit(&[b"<?php ", bytes.as_slice()].concat(), syntax, &[operation]);
    }
}
