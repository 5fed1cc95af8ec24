/* Arduino's main: setup once, and loop once instead of for ever. It prints and ends as the examples of
 * other packages do in QEMU. */
#include "Arduino.h"

extern "C" {
void say(const char *text);
void finish(int status);
}

Printing Serial;
void Printing::begin(unsigned long baud) { (void)baud; }
void Printing::print(const char *text) { say(text); }

void Printing::println(const char *text)
{
    say(text);
    say("\r\n");
}

void Printing::print(uint32_t number)
{
    char digits[11], *first = digits + sizeof digits - 1;
    *first = '\0';
    do {
        *--first = char('0' + number % 10);
        number /= 10;
    } while (number != 0);
    say(first);
}

unsigned long micros() { return 0; }
void delay(unsigned long milliseconds) { (void)milliseconds; }

int main()
{
    setup();
    loop();
    finish(0);
    return 0;
}
