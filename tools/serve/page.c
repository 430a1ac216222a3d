/* The page at `/`: a file of its own, which is in the program. */
#include "serve.h"

__asm__(".pushsection .rodata\n"
	"page_begin: .incbin \"" PAGE_FILE "\"\n"
	"page_end: .popsection\n");

extern const char page_begin[] __attribute__((visibility("hidden")));
extern const char page_end[] __attribute__((visibility("hidden")));

const char *page(size_t *size)
{
	*size = (size_t)(page_end - page_begin);
	return page_begin;
}
