// Real data that most Linux machines have: the places of the time zone
// database (package tzdata), and how far their clocks are ahead of UTC.

#ifndef EXAMPLES_TIME_ZONES_H_
#define EXAMPLES_TIME_ZONES_H_

#include <cstdlib>
#include <ctime>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

namespace examples {

struct Place {
  float latitude = 0;   ///< degrees, north of the equator
  float longitude = 0;  ///< degrees, east of Greenwich
  float offset = 0;     ///< hours ahead of UTC in January 2026
};

/// Degrees of an angle as ISO 6709 writes it, `digits` of degrees first:
/// "+4852" or "-0015127".
inline float Degrees(const std::string& angle, size_t digits) {
  const std::string rest = angle.substr(1 + digits);
  float degrees = std::stof(angle.substr(1, digits));
  degrees += std::stof(rest.substr(0, 2)) / 60;
  if (rest.size() > 2) degrees += std::stof(rest.substr(2)) / 3600;
  return angle[0] == '-' ? -degrees : degrees;
}

inline float OffsetOf(const std::string& zone) {
  ::setenv("TZ", zone.c_str(), 1);
  ::tzset();
  const std::time_t january = 1'768'435'200;  // 15 January 2026, 0:00 UTC
  std::tm local{};
  ::localtime_r(&january, &local);
  return static_cast<float>(local.tm_gmtoff) / 3600;
}

/// Empty if the machine has no such database.
inline std::vector<Place> ReadTimeZones() {
  std::ifstream file("/usr/share/zoneinfo/zone1970.tab");
  std::vector<Place> places;
  for (std::string line; std::getline(file, line);) {
    if (line.empty() || line[0] == '#') continue;
    std::istringstream fields(line);
    std::string countries;
    std::string where;
    std::string zone;
    fields >> countries >> where >> zone;
    const size_t second = where.find_first_of("+-", 1);
    places.push_back({.latitude = Degrees(where.substr(0, second), 2),
                      .longitude = Degrees(where.substr(second), 3),
                      .offset = OffsetOf(zone)});
  }
  return places;
}

}  // namespace examples

#endif  // EXAMPLES_TIME_ZONES_H_
