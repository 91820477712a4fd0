"""`mailapi import-config`: a config.py from the original's config.php."""

import pytest

from support.command_line import run_mailapi

pytestmark = pytest.mark.slow


PHP = r"""<?php
# $dbpath = "no1"; ?>
<?php
// $dbpath = "no2";
/* $dbpath = 'no3'; */
$dbpath = __DIR__ . '/it\'s' . "/master.db3";
$modulelist = %s;
$debugFlag = TRUE;
$unrelated = new Thing(function () { return ["a" => 1]; });
"""


@pytest.mark.parametrize(
    "array",
    [
        """array("Address" => "a.php", 'POP' => 'b.php', "Foo" => "c.php",)""",
        """["Address" => "a.php", /* x */ 'POP' => 'b.php', "Foo" => 'c.php']""",
        """['Address', 'POP', "Foo"]""",
        """["addresses" => "Address", "pop" => "POP", "Foo" => "foo"]""",
    ],
)
def test_import_config_reads_the_original_without_running_it(tmp_path, array):
    (tmp_path / "config.php").write_text(PHP % array)
    printed = run_mailapi(tmp_path, "import-config", "config.php")
    names: dict = {}
    exec(printed, names)
    assert names["dbpath"] == f"{tmp_path}/it's/master.db3"
    assert list(names["modulelist"].items()) == [
        ("Address", "modules/addresses.py"),
        ("POP", "modules/pop.py"),
    ]
    assert names["debug"] is True and "'Foo'" in printed
    (tmp_path / "config.py").write_text(printed)
    assert "ok    config" in run_mailapi(tmp_path, "check", check=1)


def test_import_config_says_of_debug_only_what_is_true(tmp_path):
    php = "<?php\n$dbpath = '/x.db3';\n$modulelist = [];\n"
    (tmp_path / "config.php").write_text(php)
    assert "debug" not in run_mailapi(tmp_path, "import-config", "config.php")
    (tmp_path / "config.php").write_text(php + "$debug = true;\n")
    said = [
        line for line in run_mailapi(tmp_path, "import-config", "config.php").splitlines() if "debug" in line
    ]
    assert said == ["# Line 4: $debug was not understood and is left out: only $debugFlag switches debug on."]


def test_import_config_takes_no_comparison_for_a_setting(tmp_path):
    (tmp_path / "config.php").write_text(
        "<?php\n$dbpath = '/x.db3';\n$modulelist = [];\nif ($debugFlag == true || $dbpath === '') { f(); }\n"
    )
    printed = run_mailapi(tmp_path, "import-config", "config.php")
    assert "dbpath = '/x.db3'" in printed and "debug =" not in printed and "# Line 4: if was not" in printed


@pytest.mark.parametrize(
    "php, sentence",
    [
        (
            '<?php\n\n$dbpath = getenv("DB");\n$modulelist = [];',
            "line 3: cannot read getenv without running PHP.",
        ),
        (
            '<?php\n$dbpath = "$home/x";\n$modulelist = [];',
            'line 2: cannot read "$home/x" without running PHP.',
        ),
        ("<?php $dbpath = 'x';", "does not set $modulelist."),
        ("<?php $modulelist = ['User'];", "does not set $dbpath."),
        ("<?php $dbpath = 'x'; $modulelist = [ 'User' ", "ends in the middle of a value."),
        ("<?php $dbpath = 'x'; $modulelist = 'User';", "$modulelist is no array."),
    ],
)
def test_import_config_names_what_it_cannot_read(tmp_path, php, sentence):
    (tmp_path / "config.php").write_text(php)
    assert sentence in run_mailapi(tmp_path, "import-config", "config.php", check=1)
