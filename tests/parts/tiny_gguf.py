"""A llama model of 0.5 MB with random weights: real tokens at thousands a second. usage: tiny_gguf.py OUT.gguf"""
import sys
import numpy as np
from gguf import GGUFWriter, TokenType as T
D, LAYERS, HEADS, FF = 64, 2, 4, 128
WORDS = "the a of to and in is you that it he was for on are as with his they at be this have from".split()
TEMPLATE = """{%- if tools %}<|im_start|>system
Functions:<tools>{%- for tool in tools %}
{{ tool | tojson }}{%- endfor %}
</tools>
Answer with <tool_call>
{"name": <function-name>, "arguments": <args-json-object>}
</tool_call><|im_end|>
{% endif %}{%- for m in messages %}{%- if m.role == "assistant" and m.tool_calls %}<|im_start|>assistant{%- for c in m.tool_calls %}{%- if c.function is defined %}{%- set c = c.function %}{%- endif %}
<tool_call>
{"name": "{{ c.name }}", "arguments": {{ c.arguments | tojson }}}
</tool_call>{%- endfor %}<|im_end|>
{% elif m.role == "tool" %}<|im_start|>user
<tool_response>
{{ m.content }}
</tool_response><|im_end|>
{% else %}<|im_start|>{{ m.role }}
{{ m.content }}<|im_end|>
{% endif %}{%- endfor %}{%- if add_generation_prompt %}<|im_start|>assistant
{% endif %}"""
vocab = [(b"<unk>", T.UNKNOWN), (b"<s>", T.CONTROL), (b"</s>", T.CONTROL)]
vocab += [(b"<0x%02X>" % i, T.BYTE) for i in range(256)]
vocab += [("\u2581".encode(), T.NORMAL)] + [(("\u2581" + w).encode(), T.NORMAL) for w in WORDS]
vocab += [(b"<tool_call>\n", T.USER_DEFINED)]                     # id len(vocab)-1: bias it to force a call
rng = np.random.default_rng(7)
w = GGUFWriter(sys.argv[1], "llama")
w.add_context_length(8192); w.add_embedding_length(D); w.add_block_count(LAYERS); w.add_feed_forward_length(FF)
w.add_head_count(HEADS); w.add_head_count_kv(HEADS); w.add_layer_norm_rms_eps(1e-5); w.add_rope_dimension_count(D // HEADS)
w.add_vocab_size(len(vocab)); w.add_file_type(0); w.add_tokenizer_model("llama")
w.add_token_list([t for t, _ in vocab]); w.add_token_types([k for _, k in vocab])
w.add_token_scores([0.0] * 259 + [-float(i) for i in range(len(vocab) - 259)])
w.add_bos_token_id(1); w.add_eos_token_id(2); w.add_unk_token_id(0); w.add_chat_template(TEMPLATE)
def random(name, *shape): w.add_tensor(name, (rng.standard_normal(shape) * 0.4).astype(np.float32))
def ones(name): w.add_tensor(name, np.ones(D, np.float32))
random("token_embd.weight", len(vocab), D); ones("output_norm.weight"); random("output.weight", len(vocab), D)
for b in (f"blk.{i}." for i in range(LAYERS)):
    ones(b + "attn_norm.weight"); ones(b + "ffn_norm.weight")
    for n in ("attn_q", "attn_k", "attn_v", "attn_output"): random(f"{b}{n}.weight", D, D)
    random(b + "ffn_gate.weight", FF, D); random(b + "ffn_up.weight", FF, D); random(b + "ffn_down.weight", D, FF)
w.write_header_to_file(); w.write_kv_data_to_file(); w.write_tensors_to_file(); w.close()
print(sys.argv[1], len(vocab) - 1)
