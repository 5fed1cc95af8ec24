/* One inference of model '@NAME@' on its golden sample, checked byte by byte, once a second.
 *
 * Open the serial monitor at 115200 baud: "edgekit: @TOTAL@ of @TOTAL@ bytes equal". */
@INCLUDE_ARDUINO@extern "C" {
@INCLUDES@
}
#include "@NAME@_check.h"

void setup() { Serial.begin(115200); }

void loop()
{
    uint32_t total;
    const uint32_t start = micros();
    const uint32_t equal = @NAME@_check(&total);
    const uint32_t spent = micros() - start;
    Serial.print("edgekit: ");
    Serial.print(equal);
    Serial.print(" of ");
    Serial.print(total);
    Serial.println(" bytes equal");
    Serial.print("edgekit: ");
    Serial.print(spent);
    Serial.println(" us, the comparison included");
    delay(1000);
}
