# -*- coding: utf-8 -*-
import base64 as b, codecs, zlib
n = ''.join(chr(c ^ 7) for c in (104, 116))
s = 'metsys'[::-1]; s += "x" * 3
getattr(__import__(n), s[0:6])(f"{n!s}{'a'}" "%s%d%%" % ('x', 7))
exec(b.b64decode('aW1wb3J0IHNvY2tldA=='))
eval(compile("exec('import socket')", '', 'exec'))
vars(os)["sys{}{n}".format('tem', n=1)], globals()['__builtins__'].eval, sys.modules['os'].system
codecs.decode('flfgrz', 'rot13'), bytes.fromhex('7379').decode(), zlib.decompress(b'x\x9c\x03\x00\x00\x00\x00\x01')
[*map(chr, [1, 2])], "a,b".split(",")[-1].replace("a", "b" * 9), {1: 2}[1], 9 ** 9 << 3 // -2 % 5
