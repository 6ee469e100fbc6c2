"""The command that prints metrics."""

from gms_hookd.cli import main


def printed(capsys, config, state):
    where = ["--config", str(config), "--state", str(state)]
    assert main.main(["metrics", *where]) == 0
    return capsys.readouterr().out


def series(text):
    return {line.split(" ")[0] for line in text.splitlines() if line[0] != "#"}


def test_without_a_daemon_the_command_reads_the_store_itself(daemon, capsys):
    out = printed(capsys, daemon.config, daemon.state)
    assert 'git="2.' in out
    assert {"gms_hookd_caches_bytes", "gms_hookd_disk_free_bytes"} <= series(out)
    assert "gms_hookd_start_time_seconds" not in series(out)


def test_with_a_daemon_the_command_prints_what_that_serves(daemon, capsys):
    daemon.start()
    daemon.trigger(1)
    out = printed(capsys, daemon.config, daemon.state)
    refused = 'gms_hookd_deliveries_total{hook="task-sync",result="refused"} 1'
    assert refused in out.splitlines()
    assert "gms_hookd_start_time_seconds" in series(out)
