#!/usr/bin/python3
"""Real prints through the whole path: FVC2002 over TLS into a gallery and back."""
import os
import shutil
import unittest

from whorl import DATA, Server, World, answers, whorl

FVC = os.path.join(DATA, "fvc2002")


@unittest.skipUnless(os.path.isdir(FVC), "the FVC2002 prints are not here")
class RealPrints(unittest.TestCase):
    def identify_all(self, name, dpi, least):
        """Enrols impression 1 of every finger, searches with 2 to 8; rank-1 in percent."""
        world = World()
        shutil.rmtree(world.path("var", "ident1"))
        manifest = world.path("fvc.csv")
        folder = os.path.join(FVC, name)
        with open(manifest, "w", encoding="utf-8") as file:
            file.write("person,position,impression,file,dpi,source,expires\n")
            for finger in range(101, 111):
                file.write(f"F{finger},2,1,{folder}/{finger}_1.png,{dpi},research,never\n")
        whorl("enrol", "-c", world.conf, "--gallery", "ident1", manifest)
        server = Server(world)
        right = total = wrong = 0
        with server.client() as client:
            for finger in range(101, 111):
                for impression in range(2, 9):
                    with open(f"{folder}/{finger}_{impression}.png", "rb") as file:
                        sample = {"modality": "finger", "format": "png", "position": 2,
                                  "dpi": dpi, "data": file.read()}
                    answer = answers(client.call("identify", world.request(
                        samples=[sample], checks=["ident1"])))["ident1"]
                    total += 1
                    candidates = answer.get("candidates") or []
                    if candidates and candidates[0]["ref"] == f"F{finger}":
                        right += 1
                    elif answer["class"] == "match":
                        wrong += 1
        self.assertEqual(server.stop(), 0)
        whorl("audit", "verify", "-c", world.conf)
        self.assertEqual(total, 70)
        self.assertEqual(wrong, 0, "a wrong person was called a match")
        self.assertGreaterEqual(100 * right / total, least, f"{name}: {right} of {total}")

    def test_optical_sensor_db1(self):
        self.identify_all("DB1_B", 500, 98)

    def test_optical_sensor_db2(self):
        self.identify_all("DB2_B", 569, 98)

    def test_capacitive_sensor_db3(self):
        self.identify_all("DB3_B", 500, 88)

    def test_synthetic_prints_db4(self):
        self.identify_all("DB4_B", 500, 88)


if __name__ == "__main__":
    unittest.main()
