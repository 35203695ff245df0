"""Names and tips for shell commands."""

from __future__ import annotations

import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schedappliance.importing.shell import date_test, first_sleep, guard, name_of, random_sleep


@pytest.mark.parametrize(
    ("command", "name"),
    [
        ("/usr/local/bin/backup.sh --all", "backup"),
        ("cd / && run-parts --report /etc/cron.hourly", "cron.hourly"),
        ("test -x /usr/sbin/anacron || { cd / && run-parts --report /etc/cron.daily; }", "cron.daily"),
        ("[ -x /usr/lib/php/sessionclean ] && if [ ! -d /run/x ]; then /usr/lib/php/sessionclean; fi", "sessionclean"),
        ("SERVICE_MODE=1 /sbin/e2scrub_all -A -r", "e2scrub_all"),
        ("nice -n 19 ionice -c3 /opt/reindex", "reindex"),
        ("sudo -u www-data /opt/clean.rb", "clean"),
        ("flock -n /tmp/x.lock timeout 300 /opt/feed", "feed"),
        ("flock -w 10 /tmp/x.lock -c '/opt/feed --all'", "feed"),
        ("su - postgres -c 'pg_dumpall > /b'", "pg_dumpall"),
        ("bash -c 'source ~/.profile && make all'", "make"),
        ("python3 -m shop.feed", "shop.feed"),
        ("/usr/bin/python3 /opt/quotes.py", "quotes"),
        ("php -f /var/www/nextcloud/cron.php", "nextcloud-cron"),
        ("perl -e 'sleep int(rand(9))' && certbot renew", "certbot"),
        ("sleep $((RANDOM % 600)); /opt/sync", "sync"),
        ("[ $(( $(date +%V) % 2 )) -eq 0 ] && /opt/payroll.pl", "payroll"),
        ("command -v x > /dev/null && debian-sa1 1 1", "debian-sa1"),
        ("> /tmp/log /opt/a", "a"),
        ("touch /tmp/x", "touch"),
        ("(cd /srv; git pull)", "git"),
        ("'unclosed", "'unclosed"),
        ("/", "job"),
        ("", "job"),
    ],
)
def test_a_command_is_named_after_what_it_runs(command: str, name: str) -> None:
    assert name_of(command) == name


@given(st.text(st.sampled_from("ab/ -;&|()'\"\\`$<>\n{}=#"), max_size=60))
def test_every_command_has_a_name(command: str) -> None:
    assert name_of(command)


@pytest.mark.parametrize(
    ("command", "option"),
    [
        ("sleep $((RANDOM % 600)); a", "`jitter = 10m`"),
        ("perl -e 'sleep int(rand(43200))' && a", "`jitter = 12h`"),
        ("sleep `shuf -i 0-90 -n 1` && a", "`jitter = 1m30s`"),
        ("sleep $((RANDOM % 5))m; a", "`jitter = 5m`"),
        ("python -c 'import random, time; time.sleep(random.random() * 3600)'; a", "`jitter = 1h`"),
        ("sleep $RANDOM; a", "`jitter`"),
        ("sleep 5; a", None),
        ("a --random", None),
    ],
)
def test_a_random_sleep_has_a_hint(command: str, option: str | None) -> None:
    tip = random_sleep(command)
    assert (tip is None) == (option is None)
    assert option is None or option in str(tip)


@pytest.mark.parametrize(
    ("command", "seconds"),
    [("sleep 60 && a", "60"), ("/bin/sleep 5; a", "5"), ("sleep 60", None), ("a; sleep 5; b", None)],
)
def test_a_sleep_before_all_else_is_found(command: str, seconds: str | None) -> None:
    assert first_sleep(command) == seconds


@pytest.mark.parametrize(
    ("fields", "command", "part"),
    [
        ("0 3 * * 0", "[ $(date +%d) -le 7 ] && a", '`cron = "0 3 * * SUN#1"`'),
        ("0 3 * * tue", '[ "$(date +%d)" -ge 8 ] && [ $(date +%d) -lt 15 ] && a', '`cron = "0 3 * * TUE#2"`'),
        ("0 3 * * 1-5", "[ $(date +%d) -le 7 ] && a", "which day of the month"),
        ("0 3 28-31 * *", "[ $(date -d tomorrow +%d) = 01 ] && a", '`cron = "0 3 L * *"`'),
        ("0 3 * * 1", "[ $(($(date +%W) % 2)) -eq 0 ] && a", "`each = 2w`"),
        ("0 3 * * 1", "[ $(( $(date +%s) / 604800 % 2 )) -eq 0 ] && a", "`each = 2w`"),
        ("0 3 1-7 * *", "[ $(date +%u) -eq 1 ] && a", '`cron = "0 3 * * MON#1"`'),
        ("0 3 8-14 6 *", '[ "$(date +%a)" = "Fri" ] && a', '`cron = "0 3 * 6 FRI#2"`'),
        ("0 3 * * *", 'test "$(date +%w)" -eq 0 && a', '`cron = "0 3 * * SUN"`'),
        ("0 3 1,15 * *", "if [[ $(date +%A) == Sunday ]]; then a; fi", '`cron = "0 3 1,15 * +SUN"`'),
        ("0 3 * * *", "[ $(date +%u) -eq 7 ] || a", None),
        ("0 3 * * *", "[ $(date +%u) != 7 ] && a", None),
        ("0 3 * * *", "[ $(date +%u) -eq 1 -o $(date +%u) -eq 4 ] && a", None),
        ("0 3 * * tue", "[ $(date +%d) -le 7 ] || a", "which day of the month"),
        ("0 3 * * 1", "tar -f $(date +%F).tar x", None),
    ],
)
def test_a_test_of_the_date_has_a_hint(fields: str, command: str, part: str | None) -> None:
    tip = date_test(command, fields.split())
    assert (tip is None) == (part is None)
    assert part is None or part in str(tip)


@pytest.mark.parametrize(
    ("command", "statuses"),
    [
        ("[ -x /no ] && a", "0 1"),
        ("[ $(id -u) -eq 9999 ]&&(a;b)", "0 1"),
        ("! test -d / && a;", "0 1"),
        ("/usr/bin/test -d / && [ ! -d / ] && a", "0 1"),
        ("command -v no-such-program >/dev/null && a", "0 1 127"),
        ("cd /; [ -x /no ] && { a; b; }", "0 1"),
        ("[ -x /no ] && if [ ! -d /run ]; then a; fi > /dev/null 2>&1", "0 1"),
        ("echo x | grep -q y && mail", "0 1"),
        ("test -x /no || true", None),
        ("[ -x /no ] && a || true", None),
        ("[ -x /no ] && a; true", None),
        ("if [ -x /no ] && [ -d / ]; then a; fi", None),
        ("for x in 1 2; do [ -x /no ] && a; done; true", None),
        ("case x in x) [ -x /no ] && a;; esac; true", None),
        ("cd / && true", None),
        ("echo test && true", None),
    ],
)
def test_a_test_before_a_command_has_a_note_if_it_decides_the_exit_status(command: str, statuses: str | None) -> None:
    status = subprocess.run(["/bin/sh", "-c", command], capture_output=True, timeout=30).returncode
    assert (status != 0) == (statuses is not None)
    notes = guard(command)
    assert [f"`success = ( {statuses} )`" in note for note in notes] == [True] * bool(statuses)
    assert statuses is None or str(status) in statuses.split()
