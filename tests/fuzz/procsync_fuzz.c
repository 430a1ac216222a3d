/* What the other end of a process sync sends: messages, or an error; each object takes bytes away.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "control/procsync.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct procsync_message m;
	size_t used;

	while (size && procsync_parse((const char *)data, size, &m, &used) == 1) {
		if (!used || used > size || strlen(m.message) >= sizeof(m.message))
			abort();
		data += used;
		size -= used;
	}
	return 0;
}
