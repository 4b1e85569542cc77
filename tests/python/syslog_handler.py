"""Logs through Python's own SysLogHandler: HOST PORT udp|tcp COUNT."""

import logging
import logging.handlers
import socket
import sys

host, port, transport, count = sys.argv[1], int(sys.argv[2]), sys.argv[3], int(sys.argv[4])
kind = {"udp": socket.SOCK_DGRAM, "tcp": socket.SOCK_STREAM}[transport]
handler = logging.handlers.SysLogHandler((host, port), facility="local5", socktype=kind)
handler.ident = "pyshop: "
logger = logging.getLogger("shop")
logger.addHandler(handler)
for number in range(count):
    logger.error("python %s says %d: café", transport, number)
handler.close()
