/* As much of Arduino's core as the example uses. */
#ifndef ARDUINO_H
#define ARDUINO_H

#include <stdint.h>

class Printing {
public:
    void begin(unsigned long baud);
    void print(const char *text);
    void print(uint32_t number);
    void println(const char *text);
};
extern Printing Serial;

unsigned long micros();
void delay(unsigned long milliseconds);
void setup();
void loop();

#endif
