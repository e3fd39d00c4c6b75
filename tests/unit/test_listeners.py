import socket

import pytest

from runtime.listeners import PlaceTaken, bound_listeners, listen, place_of
from runtime.ports import LOOPBACK
from runtime.shared_load import SharedLoad

NOT_HERE = "203.0.113.1"
"""An address that RFC 5737 keeps for documentation."""


def test_every_address_of_a_host_that_exists_here_is_bound() -> None:
    with bound_listeners("localhost", 0) as listeners:
        assert LOOPBACK in {place_of(listener).rpartition(":")[0] for listener in listeners}
    assert all(listener.fileno() == -1 for listener in listeners)


@pytest.mark.parametrize("host", [NOT_HERE, "no.such.host.invalid"])
def test_an_address_that_is_not_here_is_told(host: str) -> None:
    with (
        pytest.raises(PlaceTaken, match=f"cannot listen on {host}:0: "),
        bound_listeners(host, 0),
    ):
        pass


def test_clients_are_refused_until_it_listens_and_a_second_one_is_told() -> None:
    with bound_listeners(LOOPBACK, 0) as listeners:
        [listener] = listeners
        place = listener.getsockname()
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(place)
        with bound_listeners(*place) as others:
            listen(listeners)
            with pytest.raises(PlaceTaken, match="Address already in use"):
                listen(others)
        socket.create_connection(place).close()


def test_processes_see_who_has_fewer_connections() -> None:
    load = SharedLoad.for_processes(3)
    assert not load.has_fewer(100)
    load.tell(0, 4)
    load.tell(1, 2)
    other = SharedLoad(load.file)
    assert (other.has_fewer(4), other.has_fewer(3), other.has_fewer(2)) == (True, True, False)
    other.withdraw(1)
    assert (load.has_fewer(4), load.has_fewer(5)) == (False, True)
    load.close()
