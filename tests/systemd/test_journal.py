"""The journal: entries that an operations team can alert on, and none with a secret or a token."""

from scenario import DOWN, FRESH, SERVICE, Scenario


class Journal(Scenario):
    def test_client_that_becomes_refused(self):
        self.client("demo")
        self.start()
        fresh = self.entry(FRESH)
        self.assertEqual((fresh["CLIENT"], fresh["STATE"], fresh["PRIORITY"]), ("demo", "FRESH", "6"))
        self.assertEqual(fresh["TOKEN_ID"], self.token_id())
        self.systemctl("stop", SERVICE)
        self.issuer.set(mode="refuse")
        self.start()
        down = self.entry(DOWN)
        self.assertEqual((down["CLIENT"], down["STATE"], down["PRIORITY"]), ("demo", "REJECTED", "3"))
        self.assertEqual(down["SYSLOG_IDENTIFIER"], "bearerd")
        self.assertEqual(down["_SYSTEMD_UNIT"], SERVICE)
        for field in ("FAILURE", "WAS", "MESSAGE", "ERROR", "RETRY_IN_S"):
            self.assertTrue(down.get(field), field)
        self.assertIn("demo", down["MESSAGE"])

    def test_found_by_the_documented_line(self):
        """One entry for each change of state, and none without one."""
        self.client("demo", refresh={"retry_cap_without_token": "1s"})
        self.issuer.set(mode="busy")
        self.start()
        asked = self.issuer.requests()
        self.box.wait(lambda: self.issuer.requests() >= asked + 2, "to try again")
        self.assertEqual(len(self.journal(MESSAGE_ID=DOWN)), 1)
        self.issuer.set(mode="up")
        self.wait_status("^1 client ready$")
        self.assertEqual(len(self.journal(MESSAGE_ID=FRESH, CLIENT="demo")), 1)

    def test_priorities_and_fields_at_every_level(self):
        """Everything that the daemon says is an entry with a priority; no line is cut or left to a prefix."""
        self.client("demo")
        self.drop_in("Environment=BEARERD_LOG=debug")
        self.start()
        self.token()
        said = self.daemon_said()
        self.assertIn("7", {entry["PRIORITY"] for entry in said})
        for entry in said:
            self.assertEqual(entry["_TRANSPORT"], "journal", entry)
            self.assertNotRegex(entry["MESSAGE"], r"^<\d>|\x1b")

    def test_search_for_secrets_finds_them(self):
        """The search that ends every scenario is not blind."""
        self.box.run("systemd-cat", "--identifier=careless", input=f"the token is {self.issuer.marks[1]}-demo-x")
        self.assertEqual(len(self.leaks()), 1)
        self.cursor = self.end_of_journal()

    def entry(self, message_id):
        (found,) = self.daemon_said(MESSAGE_ID=message_id)
        return found
