"""llama.cpp's own HTTP server from the wheel xllamacpp. usage: llama_server.py MODEL.gguf PORT"""
import sys, time
import xllamacpp
p = xllamacpp.CommonParams()
p.model.path, p.port, p.hostnames = sys.argv[1], int(sys.argv[2]), ["127.0.0.1"]
p.n_ctx, p.n_parallel, p.cpuparams.n_threads, p.cpuparams_batch.n_threads = 8192, 8, 1, 1
p.endpoint_metrics = True
server = xllamacpp.Server(p)
print(server.listening_address, flush=True)
while True:
    time.sleep(3600)
