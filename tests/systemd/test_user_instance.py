"""An instance of a user's own, run by `systemctl --user` of a user who lingers."""

from scenario import Scenario

USER = "alice"


class UserInstance(Scenario):
    def setUp(self):
        super().setUp()
        self.box.run("useradd", "--create-home", USER)
        self.addCleanup(self.forget)
        self.box.run("loginctl", "enable-linger", USER)
        self.uid = int(self.box.run("id", "-u", USER).stdout)
        self.box.wait(self.lingers, f"to run the manager of {USER}")

    def lingers(self):
        return self.as_user("systemctl", "--user", "is-system-running", check=False).stdout.strip() == "running"

    def forget(self):
        self.box.run("loginctl", "disable-linger", USER)
        self.systemctl("stop", f"user@{self.uid}.service")
        self.box.run("userdel", "--remove", USER)

    def as_user(self, *words, check=True):
        environment = [f"XDG_RUNTIME_DIR=/run/user/{self.uid}", f"HOME=/home/{USER}"]
        return self.box.run("runuser", "-u", USER, "--", "env", *environment, *words, check=check)

    def home(self, name, text):
        path = f"/home/{USER}/.config/bearerd/{name}"
        self.box.write(path, text, 0o600)
        self.box.run("chown", "-R", f"{USER}:", f"/home/{USER}/.config")
        return path

    def test_units_are_valid(self):
        units = ["/usr/lib/systemd/user/bearerd.service", "/usr/lib/systemd/user/bearerd.socket"]
        done = self.as_user("systemd-analyze", "--user", "verify", "--man=no", *units, check=False)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertNotIn("bearerd", done.stdout + done.stderr)

    def test_serves_its_user_and_nobody_else(self):
        secret = self.home("secret", self.issuer.secret("mine") + "\n")
        self.home(
            "bearerd.toml",
            f"""[clients.mine]
token_url = "http://127.0.0.1:8080/token"
client_id = "mine"
client_secret = {{ file = "{secret}" }}
allow = [{{ user = "{USER}" }}]
""",
        )
        self.as_user("systemctl", "--user", "enable", "--now", "bearerd.socket")
        socket = f"/run/user/{self.uid}/bearerd/bearerd.sock"
        self.assertEqual(self.box.run("stat", "-c", "%U %a", socket).stdout, f"{USER} 600\n")
        token = self.as_user("bearerd", "--socket", socket, "token", "mine").stdout
        self.assertIn(self.issuer.marks[1], token)
        self.as_user("systemctl", "--user", "restart", "bearerd.service")
        self.assertEqual(self.as_user("bearerd", "--socket", socket, "token", "mine").stdout, token)
        self.assertEqual(self.issuer.requests("mine"), 1)
        self.as_user("systemctl", "--user", "reload", "bearerd.service")
        ask = ["bearerd", "--socket", socket, "token", "mine"]
        other = self.box.run("runuser", "-u", "stranger", "--", *ask, check=False)
        self.assertNotEqual((other.returncode, other.stdout), (0, token))
