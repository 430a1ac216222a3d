"""A name server for the tests: name_server.py ADDRESS LOG NAME=ADDRESS[,TTL]...; what it was asked for is
appended to LOG. Names that it does not know do not exist."""
import socket
import struct
import sys

names = {}
for entry in sys.argv[3:]:
    name, _, value = entry.partition("=")
    address, _, ttl = value.partition(",")
    names[name] = (socket.inet_aton(address), int(ttl or 300))
server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
server.bind((sys.argv[1], 53))
while True:
    question, client = server.recvfrom(4096)
    at, labels = 12, []
    while question[at]:
        labels.append(question[at + 1:at + 1 + question[at]].decode())
        at += 1 + question[at]
    kind, = struct.unpack(">H", question[at + 1:at + 3])
    name = ".".join(labels).lower()
    with open(sys.argv[2], "a") as log:
        log.write(name + "\n")
    known = names.get(name)
    answers = 1 if known and kind == 1 else 0
    reply = question[:2] + struct.pack(">HHHHH", 0x8180 if known else 0x8183, 1, answers, 0, 0)
    reply += question[12:at + 5]
    if answers:
        reply += struct.pack(">HHHIH", 0xc00c, 1, 1, known[1], 4) + known[0]
    server.sendto(reply, client)
