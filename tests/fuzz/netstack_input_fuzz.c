/* Packets from a hostile peer, Ethernet up, with an application that uses its endpoints. */
#include "../unit/netstack/chaos.h"

static uint8_t data_byte(struct chaos *c)
{
	if (!c->left)
		return 0;
	c->left--;
	return *c->data++;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct chaos c = {.byte = data_byte, .data = data, .left = size};

	if (size > 8192)
		return 0;
	chaos_open(&c, 1);
	while (c.left)
		chaos_step(&c);
	chaos_close(&c);
	return 0;
}
