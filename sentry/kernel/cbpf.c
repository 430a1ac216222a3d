/* Checking and running classic BPF. */
#include "sentry/kernel/cbpf.h"

#include <stdlib.h>
#include <string.h>

/* --- checking
 * --------------------------------------------------------------------------------- */

static bool known_load(const struct sock_filter *f, unsigned words)
{
	switch (f->code) {
	case BPF_LD | BPF_W | BPF_ABS:
		return f->k % 4 == 0 && f->k / 4 < words;
	case BPF_LD | BPF_W | BPF_LEN:
	case BPF_LDX | BPF_W | BPF_LEN:
	case BPF_LD | BPF_IMM:
	case BPF_LDX | BPF_IMM:
		return true;
	case BPF_LD | BPF_MEM:
	case BPF_LDX | BPF_MEM:
	case BPF_ST:
	case BPF_STX:
		return f->k < BPF_MEMWORDS;
	default:
		return false;
	}
}

static bool known_alu(const struct sock_filter *f)
{
	bool constant = BPF_SRC(f->code) == BPF_K;

	if (f->code & ~(BPF_ALU | 0xf8))
		return false;
	switch (BPF_OP(f->code)) {
	case BPF_ADD:
	case BPF_SUB:
	case BPF_MUL:
	case BPF_OR:
	case BPF_AND:
	case BPF_XOR:
		return true;
	case BPF_DIV:
		return !constant || f->k != 0;
	case BPF_LSH:
	case BPF_RSH:
		return !constant || f->k < 32;
	case BPF_NEG:
		return constant;
	default: /* BPF_MOD: not for seccomp */
		return false;
	}
}

/* left: instructions after this one. */
static bool known_jump(const struct sock_filter *f, unsigned left)
{
	if (f->code == (BPF_JMP | BPF_JA))
		return f->k < left;
	if (f->code & ~(BPF_JMP | 0x78))
		return false;
	switch (BPF_OP(f->code)) {
	case BPF_JEQ:
	case BPF_JGT:
	case BPF_JGE:
	case BPF_JSET:
		return f->jt < left && f->jf < left;
	default:
		return false;
	}
}

static bool known_instruction(const struct sock_filter *f, unsigned left, unsigned words)
{
	switch (BPF_CLASS(f->code)) {
	case BPF_ALU:
		return known_alu(f);
	case BPF_JMP:
		return known_jump(f, left);
	case BPF_RET:
		return f->code == (BPF_RET | BPF_K) || f->code == (BPF_RET | BPF_A);
	case BPF_MISC:
		return f->code == (BPF_MISC | BPF_TAX) || f->code == (BPF_MISC | BPF_TXA);
	default:
		return known_load(f, words);
	}
}

/* written[i]: the words of scratch memory that are written on every way to instruction i. Jumps go
 * forward, so one pass sees all ways before the place that they lead to. */
static bool memory_written_first(const struct sock_filter *prog, unsigned len, uint16_t *written)
{
	uint16_t now = 0;

	memset(written, 0xff, len * sizeof(*written));
	for (unsigned i = 0; i < len; i++) {
		const struct sock_filter *f = &prog[i];

		now &= written[i];
		if (f->code == BPF_ST || f->code == BPF_STX) {
			now |= (uint16_t)(1U << f->k);
		} else if (BPF_CLASS(f->code) <= BPF_LDX && BPF_MODE(f->code) == BPF_MEM) {
			if (!(now & 1U << f->k))
				return false;
		} else if (f->code == (BPF_JMP | BPF_JA)) {
			written[i + 1 + f->k] &= now;
			now = 0xffff;
		} else if (BPF_CLASS(f->code) == BPF_JMP) {
			written[i + 1 + f->jt] &= now;
			written[i + 1 + f->jf] &= now;
			now = 0xffff;
		}
	}
	return true;
}

bool cbpf_check(const struct sock_filter *prog, unsigned len, unsigned words)
{
	uint16_t *written;
	bool ok;

	if (!len || len > BPF_MAXINSNS || BPF_CLASS(prog[len - 1].code) != BPF_RET)
		return false;
	for (unsigned i = 0; i < len; i++)
		if (!known_instruction(&prog[i], len - i - 1, words))
			return false;
	written = malloc(len * sizeof(*written));
	ok = written && memory_written_first(prog, len, written);
	free(written);
	return ok;
}

/* --- running
 * ---------------------------------------------------------------------------------- */

static uint32_t alu(uint16_t code, uint32_t a, uint32_t b)
{
	switch (BPF_OP(code)) {
	case BPF_ADD:
		return a + b;
	case BPF_SUB:
		return a - b;
	case BPF_MUL:
		return a * b;
	case BPF_DIV:
		return a / b;
	case BPF_OR:
		return a | b;
	case BPF_AND:
		return a & b;
	case BPF_XOR:
		return a ^ b;
	case BPF_LSH:
		return a << (b & 31);
	case BPF_RSH:
		return a >> (b & 31);
	default: /* BPF_NEG */
		return -a;
	}
}

static bool jumps(uint16_t code, uint32_t a, uint32_t b)
{
	switch (BPF_OP(code)) {
	case BPF_JEQ:
		return a == b;
	case BPF_JGT:
		return a > b;
	case BPF_JGE:
		return a >= b;
	default: /* BPF_JSET */
		return a & b;
	}
}

uint32_t cbpf_run(const struct sock_filter *f, const uint32_t *data, unsigned words)
{
	uint32_t a = 0, x = 0, mem[BPF_MEMWORDS];

	for (;; f++) {
		uint32_t operand = BPF_SRC(f->code) == BPF_X ? x : f->k;

		switch (BPF_CLASS(f->code)) {
		case BPF_LD:
		case BPF_LDX: {
			uint32_t v;

			switch (BPF_MODE(f->code)) {
			case BPF_ABS:
				v = data[f->k / 4];
				break;
			case BPF_MEM:
				v = mem[f->k];
				break;
			case BPF_LEN:
				v = words * 4;
				break;
			default: /* BPF_IMM */
				v = f->k;
			}
			*(BPF_CLASS(f->code) == BPF_LD ? &a : &x) = v;
			break;
		}
		case BPF_ST:
			mem[f->k] = a;
			break;
		case BPF_STX:
			mem[f->k] = x;
			break;
		case BPF_ALU:
			/* Linux: a division by a zero in X ends the program with 0. */
			if (BPF_OP(f->code) == BPF_DIV && !operand)
				return 0;
			a = alu(f->code, a, operand);
			break;
		case BPF_JMP:
			if (BPF_OP(f->code) == BPF_JA)
				f += f->k;
			else
				f += jumps(f->code, a, operand) ? f->jt : f->jf;
			break;
		case BPF_RET:
			return BPF_RVAL(f->code) == BPF_A ? a : f->k;
		default: /* BPF_MISC */
			if (BPF_MISCOP(f->code) == BPF_TAX)
				x = a;
			else
				a = x;
		}
	}
}

bool cbpf_constant(const struct sock_filter *f, const uint32_t *data, unsigned known,
		   uint32_t *value)
{
	uint32_t a = 0;

	for (;; f++) {
		switch (f->code) {
		case BPF_LD | BPF_W | BPF_ABS:
			if (f->k / 4 >= known)
				return false;
			a = data[f->k / 4];
			break;
		case BPF_RET | BPF_K:
			*value = f->k;
			return true;
		case BPF_JMP | BPF_JA:
			f += f->k;
			break;
		case BPF_JMP | BPF_JEQ | BPF_K:
		case BPF_JMP | BPF_JGT | BPF_K:
		case BPF_JMP | BPF_JGE | BPF_K:
		case BPF_JMP | BPF_JSET | BPF_K:
			f += jumps(f->code, a, f->k) ? f->jt : f->jf;
			break;
		case BPF_ALU | BPF_AND | BPF_K:
			a &= f->k;
			break;
		default:
			return false;
		}
	}
}
