"""Where secrets come from under systemd: its credentials, plain and encrypted, and commands inside the sandbox."""

from scenario import SERVICE, Scenario

CREDENTIAL = {"credential": "demo"}
ENCRYPT = ("systemd-creds", "encrypt", "--with-key=host", "--name=demo")


class Credentials(Scenario):
    def setUp(self):
        super().setUp()
        self.client("demo", secret=False, client_secret=CREDENTIAL)

    def assert_serves(self):
        self.start()
        self.assertIn(self.issuer.marks[1], self.token()["access_token"])
        self.assertEqual(self.issuer.requests(), 1)

    def encrypted(self):
        """The path of a file that only this host can decrypt."""
        path = "/etc/credstore.encrypted/demo"
        self.box.path("/etc/credstore.encrypted").mkdir(exist_ok=True)
        self.box.run(*ENCRYPT, "-", path, input=self.issuer.secret("demo"))
        self.addCleanup(self.box.path(path).unlink)
        self.assertNotIn(self.issuer.marks[0], self.box.read(path))
        return path

    def test_plain(self):
        self.drop_in(f"LoadCredential=demo:{self.secret('demo')}")
        self.assert_serves()

    def test_encrypted(self):
        self.drop_in(f"LoadCredentialEncrypted=demo:{self.encrypted()}")
        self.assert_serves()

    def test_encrypted_in_the_unit(self):
        said = self.box.run(*ENCRYPT, "--pretty", "-", "-", input=self.issuer.secret("demo")).stdout
        self.drop_in(said)
        self.assert_serves()

    def test_missing(self):
        """Without the credential the client is refused, in words that say what to do; the service is up."""
        self.start()
        self.assertEqual(self.show("ActiveState"), "active")
        done = self.token(check=False)
        self.assertEqual(done.returncode, 69)
        self.assertIn("credential", done.stderr)

    def test_restart_picks_up_another_secret(self):
        """systemd reads credentials at each start; tokens are kept over it all the same."""
        path = self.secret("demo")
        self.drop_in(f"LoadCredential=demo:{path}")
        self.administer(path, "an old secret\n")
        self.start()
        self.assertEqual(self.token(check=False).returncode, 69)
        self.secret("demo")
        self.systemctl("restart", SERVICE)
        self.assertTrue(self.token_id())


class Commands(Scenario):
    def test_command_in_the_sandbox(self):
        path = self.secret("demo")
        self.client("demo", secret=False, client_secret={"command": ["/bin/cat", path]})
        self.start()
        self.assertTrue(self.token_id())

    def test_script_in_the_sandbox(self):
        """What secret managers' clients are like: an interpreter, a pipe, a temporary file, a connection."""
        path = self.secret("demo")
        script = f"""import os, socket, subprocess, tempfile
with tempfile.TemporaryFile() as scratch:
    subprocess.run(["cat", {path!r}], stdout=scratch, check=True)
    socket.create_connection(("127.0.0.1", 8080)).close()
    scratch.seek(0)
    print(scratch.read().decode().strip())
"""
        self.administer("/etc/bearerd/secrets/fetch.py", script)
        command = ["/usr/bin/python3", "/etc/bearerd/secrets/fetch.py"]
        self.client("demo", secret=False, client_secret={"command": command})
        self.start()
        self.assertTrue(self.token_id())
        self.assertEqual([entry for entry in self.daemon_said() if entry["PRIORITY"] < "5"], [])
