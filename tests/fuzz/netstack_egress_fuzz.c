/* A guest that wants out, and answers of a hostile world: see egress_oracle.h. */
#include "../unit/netstack/policy/egress_oracle.c"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size <= 4096)
		egress_play(data, size);
	return 0;
}
