<?php
// The least that a request costs in PHP: a session, the main statements of mailapi, and JSON. No check is made, and
// nothing is recorded. bench/php.py runs it under PHP-FPM.

session_save_path($_SERVER["SESSIONS"]);
session_start();
$fields = json_decode(file_get_contents("php://input"), true) ?: [];
[$module, $action] = explode("?", $_SERVER["REQUEST_URI"]);

$master = new PDO("sqlite:" . $_SERVER["DBPATH"]);
$master->setAttribute(PDO::ATTR_TIMEOUT, 60);

function run(string $sql, array $values = []): PDOStatement
{
    global $master;
    $statement = $master->prepare($sql);
    $statement->execute($values);
    return $statement;
}

function rows(string $sql, array $values = []): array
{
    return run($sql, $values)->fetchAll(PDO::FETCH_ASSOC);
}

function authdata(string $password, string $salt): string
{
    return $salt . ":" . hash("sha256", $salt . $password);
}

function answer(array $answer): never
{
    $json = json_encode($answer);
    header("Content-Type: application/json");
    header("Content-Length: " . strlen($json));
    echo $json;
    exit;
}

const USERS = "SELECT user_name, user_authdata IS NOT NULL AS has_login, user_alias, user_database,
    (SELECT COUNT(*) FROM addresses WHERE address_router = 'store' AND address_route = user_name) AS link_count,
    (SELECT COUNT(*) FROM mailbox WHERE mail_user = user_name) AS mails,
    user_name IN (SELECT pop_user FROM popd) AS pop, user_name IN (SELECT smtpd_user FROM smtpd) AS smtpd FROM users";

run(in_array($action, ["add", "set_password"]) ? "BEGIN IMMEDIATE" : "BEGIN");
if ($auth = $fields["auth"] ?? null) {
    $stored = run("SELECT user_authdata FROM users WHERE user_name = ?", [$auth["user_name"]])->fetchColumn();
    if (authdata($auth["password"], explode(":", $stored)[0]) !== $stored) {
        answer(["status" => "Username or password is wrong."]);
    }
    $_SESSION["user_name"] = $auth["user_name"];
}
$permissions = rows(
    "SELECT value, user_name, api_permission FROM meta LEFT JOIN users ON user_name = ?
        LEFT JOIN api_access ON api_user = user_name WHERE key = 'schema_version'",
    [$_SESSION["user_name"]]
);
$result = match ([$module, $action]) {
    ["/", "get_modules"] => ["text" => str_repeat("x", 110)],
    ["/users/", "get"] => ["users" => isset($fields["username"])
        ? rows(USERS . " WHERE user_name = ?", [$fields["username"]])
        : rows(USERS . " ORDER BY user_name")],
    ["/pop/", "get"] => ["pop" => rows("SELECT pop_user, pop_lock FROM popd ORDER BY pop_user")],
    ["/users/", "set_password"] => ["changed" => run(
        "UPDATE users SET user_authdata = ? WHERE user_name = ?",
        [authdata($fields["user_authdata"], bin2hex(random_bytes(8))), $fields["user_name"]]
    )->rowCount()],
    ["/users/", "add"] => ["user" => run(
        "INSERT INTO users (user_name, user_authdata) VALUES (?, ?)",
        [$fields["user_name"], authdata($fields["user_authdata"], bin2hex(random_bytes(8)))]
    )->rowCount()],
};
run("COMMIT");
answer(["status" => "ok", ...$result]);
