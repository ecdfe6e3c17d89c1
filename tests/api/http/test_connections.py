"""One connection more than may be takes an idle one's place, or is refused."""

from tamis.api.http.connections import Connections


class One:
    def __init__(self, name, log):
        self.name, self.log, self.is_idle = name, log, True

    def end(self):
        self.log.append(f"end {self.name}")

    def refuse(self):
        self.log.append(f"refuse {self.name}")


def test_the_one_idle_longest_goes_first():
    log, among = [], Connections(3)
    a, b, c, d, e, f, g = (One(name, log) for name in "abcdefg")
    for one in (a, b, c):
        among.made(one)
    among.used(a)
    c.is_idle = False
    among.made(d)
    assert log == ["end b"]
    among.made(e)
    assert log == ["end b", "end a"]
    among.lost(a)  # it is told of later
    d.is_idle = e.is_idle = False
    among.made(f)
    assert log[2:] == ["refuse f"]
    assert len(among) == 3
    among.lost(c)
    among.made(g)
    assert log[3:] == []
    assert among.counts() == {"open": 3, "ended": 2, "refused": 1}
