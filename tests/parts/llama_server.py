"""llama.cpp's own HTTP server from the wheel xllamacpp. usage: llama_server.py MODEL.gguf PORT"""
import sys, time
import xllamacpp
p = xllamacpp.CommonParams()
p.model.path, p.port, p.hostnames = sys.argv[1], int(sys.argv[2]), ["127.0.0.1"]
p.n_ctx, p.n_parallel, p.cpuparams.n_threads, p.cpuparams_batch.n_threads = 8192, 8, 1, 1
p.endpoint_metrics = True
# Each connection that is kept takes one of them, and what comes beyond is closed without a word.
p.n_threads_http = 64
server = xllamacpp.Server(p)
print(server.listening_address, flush=True)
while True:
    time.sleep(3600)
