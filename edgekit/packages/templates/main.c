/* One inference of model '@NAME@' on its golden sample; the status is 0 where every byte is right. */
#include "@NAME@_check.h"

/* Print a text; end the program where it cannot just return. say_stdio.c has them where there is a C
 * library, say_semihosting.c in QEMU. */
void say(const char *text);
void finish(int status);

static void say_number(uint32_t value)
{
    char digits[11], *first = digits + sizeof digits - 1;
    *first = '\0';
    do {
        *--first = (char)('0' + value % 10u);
        value /= 10u;
    } while (value != 0u);
    say(first);
}

int main(void)
{
    uint32_t total;
    const uint32_t equal = @NAME@_check(&total);
    say("edgekit: ");
    say_number(equal);
    say(" of ");
    say_number(total);
    say(" bytes equal\n");
    finish(equal == total ? 0 : 1);
    return equal == total ? 0 : 1;
}
