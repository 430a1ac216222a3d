/* Frames of a control connection as a peer may write them: the bytes go through a socket into the
 * reader, what it takes for frames is unpacked and packed again. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "control/frame.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct frame_reader reader;
	int sv[2];

	if (size > 100000 || socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, sv))
		return 0;
	frame_reader_init(&reader, false);
	if (write(sv[0], data, size) == (ssize_t)size) {
		while (frame_reader_read(&reader, sv[1]) == 1) {
			Moat__Frame *frame = frame_unpack(reader.payload, reader.size);
			size_t packed_size;

			if (frame)
				free(frame_pack(frame, &packed_size));
			frame_free(frame);
			frame_reader_reset(&reader);
		}
	}
	frame_reader_reset(&reader);
	close(sv[0]);
	close(sv[1]);
	return 0;
}
